import type { Sql } from '../port.js';

/** SQL: another one after a promotion, and after a recovery to an earlier point. */
export const TIMELINE = 'left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)';

/** Server, database and timeline: with another timeline commits may be lost, and their numbers given out again. */
export async function identifyPostgres(db: Sql): Promise<{ id: string; timeline: string }> {
  const server = await db
    .all<{ id: string }>('SELECT system_identifier::text AS id FROM pg_control_system()')
    .then(([row]) => row!.id)
    // Some providers do not show it; database and timeline are what is left then.
    .catch(() => '');
  const [row] = await db.all<{ id: string; timeline: string }>(
    `SELECT substr(md5(concat_ws('/', $1::text, d.oid, ${TIMELINE})), 1, 8) AS id, ${TIMELINE} AS timeline
       FROM pg_database d WHERE d.datname = current_database()`,
    [server],
  );
  return row!;
}
