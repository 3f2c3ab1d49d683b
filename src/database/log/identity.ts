import { LightconeError } from '../../core/errors.js';
import type { Sql } from '../port.js';

/**
 * SQL for the timeline and the table. It changes after a promotion, a recovery to an earlier point, and the replacement
 * of the tables by a dump (VACUUM FULL keeps the number of a table).
 */
export const TIMELINE = `concat(left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), '/', to_regclass('history_audit')::oid)`;

/** Server, database, timeline and table. If one of them changes, commits may be lost and their numbers reused. */
export async function identifyPostgres(db: Sql): Promise<{ id: string; timeline: string }> {
  const server = await systemIdentifier(db);
  const [row] = await db.all<{ id: string; timeline: string }>(
    `SELECT substr(md5(concat_ws('/', $1::text, d.oid, ${TIMELINE})), 1, 8) AS id, ${TIMELINE} AS timeline
       FROM pg_database d WHERE d.datname = current_database()`,
    [server],
  );
  return row!;
}

/** Empty if the server hides it: some providers revoke the right. The caller must do without. */
export async function systemIdentifier(db: Sql): Promise<string> {
  try {
    const [row] = await db.all<{ id: string }>(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    return row!.id;
  } catch (error) {
    // A missing answer is not an empty one, which would name another server.
    if (error instanceof LightconeError && error.code === 'DATABASE_UNAVAILABLE') throw error;
    return '';
  }
}
