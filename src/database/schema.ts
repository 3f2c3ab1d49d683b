import { LightconeError } from '../core/errors.js';
import type { Logger } from '../telemetry/logger.js';
import { utcNow } from './dialect.js';
import { positionTable } from './migrations/0005-visibility.js';
import { MIGRATIONS } from './migrations/index.js';
import type { Database, Sql } from './port.js';

/**
 * "LCNE", 1. Held until the end of the transaction, so that processes that start together migrate one after the other.
 */
const MIGRATION_LOCK = 'SELECT pg_advisory_xact_lock(1279479365, 1)';

/**
 * Migrates a database that Lightcone owns, all or nothing.
 * @returns the migrations that were applied now
 * @throws LightconeError DATABASE_SCHEMA if the tables belong to another program or a newer Lightcone
 */
export async function migrate(db: Database, logger: Logger): Promise<string[]> {
  return db.transaction(async (tx) => {
    if (tx.dialect === 'postgresql') await tx.all(MIGRATION_LOCK);
    const done = await appliedMigrations(tx);
    if (!done) {
      await tx.run(
        'CREATE TABLE lightcone_migration (number integer PRIMARY KEY, name text NOT NULL, applied timestamp NOT NULL)',
      );
    }
    const applied: string[] = [];
    for (const migration of MIGRATIONS) {
      if (done?.has(migration.number)) continue;
      for (const statement of migration.statements(tx.dialect)) await tx.run(statement);
      await tx.run(
        `INSERT INTO lightcone_migration (number, name, applied) VALUES ($1, $2, ${utcNow(tx.dialect)})`,
        [migration.number, migration.name],
      );
      logger.info({ number: migration.number, name: migration.name }, 'migration applied');
      applied.push(migration.name);
    }
    return applied;
  });
}

/**
 * The migrations that `migrate` would apply; changes nothing.
 * @throws LightconeError as `migrate`
 */
export async function pendingMigrations(db: Sql): Promise<string[]> {
  const done = await appliedMigrations(db);
  return MIGRATIONS.filter(({ number }) => !done?.has(number)).map(({ name }) => name);
}

/** Undefined in an empty database. */
async function appliedMigrations(tx: Sql): Promise<Set<number> | undefined> {
  if (!(await hasTable(tx, 'lightcone_migration'))) {
    if (await hasTable(tx, 'history')) {
      throw new LightconeError(
        'DATABASE_SCHEMA',
        'the database already has a table "history" of another program;  ' +
          'set attach_to_galaxy: true if it is a Galaxy database, or name an empty database in database_connection',
      );
    }
    return undefined;
  }
  const rows = await tx.all<{ number: number }>('SELECT number FROM lightcone_migration');
  const newest = Math.max(0, ...rows.map((row) => row.number));
  const known = MIGRATIONS.at(-1)?.number ?? 0;
  if (newest > known) {
    throw new LightconeError(
      'DATABASE_SCHEMA',
      `the database is at migration ${newest}, this Lightcone knows ${known}: install the newer version again`,
    );
  }
  return new Set(rows.map((row) => row.number));
}

/**
 * For a database that Galaxy owns: adds Lightcone's only table, if the database user may.
 * @returns whether the table is usable; otherwise a new leader reads by time instead of from the stored position
 */
export async function migrateAttached(db: Database, logger: Logger): Promise<boolean> {
  try {
    if (!(await hasTable(db, 'lightcone_position'))) await db.run(positionTable(db.dialect));
    // Changes no row, but needs every right that the position store needs.
    await db.run(
      'INSERT INTO lightcone_position (moment, position) SELECT moment, position FROM lightcone_position WHERE 1 = 0',
    );
    await db.run('DELETE FROM lightcone_position WHERE 1 = 0');
    return true;
  } catch (error) {
    const { cause, message } = error as Error;
    if (error instanceof LightconeError && error.code === 'DATABASE_UNAVAILABLE') throw error;
    logger.warn(
      { reason: cause instanceof Error ? cause.message : message },
      'table lightcone_position cannot be used: changes made while no monitor runs will not be delivered; ' +
        'create the table for the database user, as docs/beside-a-galaxy.md says',
    );
    return false;
  }
}

const NEEDED: Readonly<Record<string, readonly string[]>> = {
  worker_process: ['server_name', 'hostname', 'pid', 'update_time', 'app_type'],
  galaxy_user: ['id', 'email', 'deleted'],
  galaxy_session: ['id', 'user_id', 'session_key', 'is_valid', 'current_history_id'],
  galaxy_session_to_history: ['session_id', 'history_id'],
  api_keys: ['id', 'create_time', 'user_id', 'key', 'deleted'],
  history: ['id', 'user_id', 'importable', 'published'],
  history_user_share_association: ['history_id', 'user_id'],
  history_audit: ['history_id', 'update_time'],
};

/** @throws LightconeError DATABASE_SCHEMA with the name of every missing table and column */
export async function checkSchema(db: Sql): Promise<void> {
  const found = await columnsOf(db, Object.keys(NEEDED));
  const missing = Object.entries(NEEDED).flatMap(([table, columns]) => {
    const there = found.get(table);
    if (!there) return [`table ${table}`];
    return columns.filter((column) => !there.has(column)).map((column) => `column ${table}.${column}`);
  });
  if (missing.length === 0) return;
  throw new LightconeError(
    'DATABASE_SCHEMA',
    `the database lacks ${missing.join(', ')}; check that database_connection names the right database` +
      ' (standalone: run "lightcone migrate"; attached: a Galaxy of release 26.1 or later)',
  );
}

/** Row level security hides rows without an error. @returns one line about the problem, or undefined */
export async function hiddenRows(db: Sql): Promise<string | undefined> {
  if (db.dialect === 'sqlite') return undefined;
  const rows = await db.all<{ name: string }>(
    'SELECT t.name FROM unnest($1::text[]) AS t (name) WHERE row_security_active(to_regclass(quote_ident(t.name))::oid)',
    [
      db.list([
        ...Object.keys(NEEDED),
        'notification',
        'user_notification_association',
        'interactivetool_entry_point',
      ]),
    ],
  );
  if (rows.length === 0) return undefined;
  return (
    `row level security is on for this database user in ${rows.map(({ name }) => name).join(', ')}: hidden changes are never delivered;` +
    ' give the user BYPASSRLS, or name the owner of the tables in database_connection'
  );
}

/**
 * A function that anybody creates in a schema of the search path can shadow one of PostgreSQL's, and then runs with the
 * rights of this account (CVE-2018-1058). @returns one line about the problem, or undefined
 */
export async function openSchemas(db: Sql): Promise<string | undefined> {
  if (db.dialect === 'sqlite') return undefined;
  const rows = await db.all<{ name: string }>(
    "SELECT quote_ident(s.name) AS name FROM unnest(current_schemas(false)) AS s (name) WHERE has_schema_privilege('public', s.name, 'CREATE')",
    [],
  );
  if (rows.length === 0) return undefined;
  const [{ name }] = rows as [{ name: string }];
  return (
    `everybody with an account on this database may create functions in the schema ${name}, and such functions can act with the rights` +
    ` of Lightcone's account: REVOKE CREATE ON SCHEMA ${name} FROM PUBLIC (docs/security.md, In the database)`
  );
}

export const hasTable = async (db: Sql, table: string): Promise<boolean> =>
  (await columnsOf(db, [table])).has(table);

/** The columns of those of `tables` that exist. */
async function columnsOf(db: Sql, tables: readonly string[]): Promise<Map<string, Set<string>>> {
  const rows = await db.all<{ table_name: string; column_name: string }>(
    db.dialect === 'sqlite'
      ? `SELECT m.name AS table_name, c.name AS column_name
           FROM sqlite_master m JOIN pragma_table_info(m.name) c
          WHERE m.type = 'table' AND ${db.isOneOf('m.name', 1)}`
      : // to_regclass finds what the session's search_path would find, whatever the schema is called.
        `SELECT t.name AS table_name, a.attname AS column_name
           FROM unnest($1::text[]) AS t (name)
           JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(t.name))
          WHERE a.attnum > 0 AND NOT a.attisdropped`,
    [db.list(tables)],
  );
  const found = new Map<string, Set<string>>();
  for (const row of rows) {
    const columns = found.get(row.table_name) ?? new Set();
    found.set(row.table_name, columns.add(row.column_name));
  }
  return found;
}
