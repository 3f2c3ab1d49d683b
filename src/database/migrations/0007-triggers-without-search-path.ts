import type { Dialect } from '../port.js';
import { quietFunction } from './0006-quiet-triggers.js';

/**
 * The triggers run in all sessions, even in those without a `search_path` (pg_restore, psql with a script of a dump),
 * so they name the schema of the table. It is in the text, because a setting of the function would cost each writer.
 */
export const triggersWithoutSearchPath = (dialect: Dialect): string[] =>
  dialect === 'sqlite' ? [] : (['history_id', 'id'] as const).map(withSchema);

const withSchema = (column: 'history_id' | 'id'): string => `
  DO $do$
  BEGIN
    EXECUTE format(
      $text$${quietFunction(column).replace('INTO history_audit', 'INTO %I.history_audit')}$text$,
      (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = 'history_audit'::regclass));
  END;
  $do$`;
