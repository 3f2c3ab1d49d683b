import type { Dialect } from '../port.js';
import { galaxyTables } from './0001-galaxy-tables.js';
import { auditTriggers } from './0002-audit-triggers.js';
import { ownTables } from './0003-own-tables.js';
import { resourceTables } from './0004-resources.js';
import { visibility } from './0005-visibility.js';
import { quietTriggers } from './0006-quiet-triggers.js';
import { triggersWithoutSearchPath } from './0007-triggers-without-search-path.js';

export interface Migration {
  number: number;
  name: string;
  statements(dialect: Dialect): string[];
}

/** In the order of their numbers. Never change a released migration; add another one. */
export const MIGRATIONS: readonly Migration[] = [
  { number: 1, name: 'galaxy tables', statements: galaxyTables },
  { number: 2, name: 'audit triggers', statements: auditTriggers },
  { number: 3, name: 'own tables', statements: ownTables },
  { number: 4, name: 'resources', statements: resourceTables },
  { number: 5, name: 'visibility', statements: visibility },
  { number: 6, name: 'quiet triggers', statements: quietTriggers },
  { number: 7, name: 'triggers without search_path', statements: triggersWithoutSearchPath },
];
