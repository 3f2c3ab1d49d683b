import { LightconeError } from '../../core/errors.js';
import type { Sql } from '../port.js';

/**
 * SQL: another one after a promotion, after a recovery to an earlier point, and after a dump was put in the place of the tables
 * that were there (VACUUM FULL leaves a table its number).
 */
export const TIMELINE = `concat(left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), '/', to_regclass('history_audit')::oid)`;

/** Server, database, timeline and table: with another one commits may be lost, and their numbers given out again. */
export async function identifyPostgres(db: Sql): Promise<{ id: string; timeline: string }> {
  const server = await systemIdentifier(db);
  const [row] = await db.all<{ id: string; timeline: string }>(
    `SELECT substr(md5(concat_ws('/', $1::text, d.oid, ${TIMELINE})), 1, 8) AS id, ${TIMELINE} AS timeline
       FROM pg_database d WHERE d.datname = current_database()`,
    [server],
  );
  return row!;
}

/** Empty where the server does not show it: some providers take the right away. Whoever asks has to do without. */
export async function systemIdentifier(db: Sql): Promise<string> {
  try {
    const [row] = await db.all<{ id: string }>(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    return row!.id;
  } catch (error) {
    // No answer is not an empty answer: it would name another server.
    if (error instanceof LightconeError && error.code === 'DATABASE_UNAVAILABLE') throw error;
    return '';
  }
}
