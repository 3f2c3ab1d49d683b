import type { Dialect } from '../port.js';
import { auditTriggers } from './0002-audit-triggers.js';

/** The positions that the monitor has reached, and when; in a database of Galaxy, Lightcone's only table. */
export const positionTable = (dialect: Dialect): string =>
  dialect === 'sqlite'
    ? `CREATE TABLE IF NOT EXISTS lightcone_position (
        id INTEGER PRIMARY KEY AUTOINCREMENT, moment datetime NOT NULL, position text NOT NULL)`
    : `CREATE TABLE IF NOT EXISTS lightcone_position (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, moment timestamp without time zone NOT NULL,
        position text NOT NULL)`;

/** The audit table records the order of visibility: by the number of the transaction, or by a number of its own. */
export const visibility = (dialect: Dialect): string[] => (dialect === 'sqlite' ? onSqlite() : onPostgres());

/** Existing rows count as visible to everybody: a constant default rewrites no table. */
const onPostgres = (): string[] => [
  `ALTER TABLE history_audit ADD COLUMN xid xid8 NOT NULL DEFAULT '0'`,
  'ALTER TABLE history_audit ALTER COLUMN xid SET DEFAULT pg_current_xact_id()',
  'CREATE INDEX ix_history_audit_xid ON history_audit (xid)',
  // Two transactions that change a history in one microsecond leave two rows.
  'ALTER TABLE history_audit DROP CONSTRAINT history_audit_pkey, ADD PRIMARY KEY (history_id, update_time, xid)',
  positionTable('postgresql'),
];

/**
 * No number is reused, whatever is pruned: a second change in one millisecond replaces the first, under a new number.
 * Each row names its dataset or collection.
 */
const onSqlite = (): string[] => [
  ...auditTriggers('sqlite').map((statement) => `DROP TRIGGER ${/CREATE TRIGGER (\w+)/.exec(statement)![1]}`),
  'ALTER TABLE history_audit RENAME TO history_audit_before',
  'DROP INDEX ix_history_audit_update_time',
  `CREATE TABLE history_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, history_id integer NOT NULL REFERENCES history (id),
    update_time datetime NOT NULL, content_type varchar(32) NOT NULL DEFAULT 'history',
    content_id integer NOT NULL DEFAULT 0,
    UNIQUE (history_id, update_time, content_type, content_id) ON CONFLICT REPLACE)`,
  `INSERT INTO history_audit (history_id, update_time)
   SELECT history_id, update_time FROM history_audit_before ORDER BY update_time`,
  'DROP TABLE history_audit_before',
  'CREATE INDEX ix_history_audit_update_time ON history_audit (update_time)',
  'CREATE TABLE lightcone_log (id varchar(16) NOT NULL, place text NOT NULL)',
  positionTable('sqlite'),
  ...TRIGGERS.flatMap(({ table, column, type }) =>
    (['INSERT', 'UPDATE'] as const).map(
      (operation) => `
        CREATE TRIGGER trigger_${table}_${operation === 'INSERT' ? 'air' : 'aur'} AFTER ${operation} ON ${table}
        FOR EACH ROW WHEN NEW.${column} IS NOT NULL
        BEGIN
          INSERT INTO history_audit (history_id, update_time, content_type, content_id)
          VALUES (NEW.${column}, strftime('%Y-%m-%d %H:%M:%f', 'now'), '${type}', ${type === 'history' ? 0 : 'NEW.id'});
        END`,
    ),
  ),
];

const TRIGGERS = [
  { table: 'history_dataset_association', column: 'history_id', type: 'dataset' },
  { table: 'history_dataset_collection_association', column: 'history_id', type: 'dataset_collection' },
  { table: 'history', column: 'id', type: 'history' },
] as const;
