/** What grows without bound unless somebody clears it away. Each chore works in small pieces, so that nobody waits for it. */
import { utcNow, utcNowMinus } from '../../database/dialect.js';
import type { Database, Sql } from '../../database/port.js';

const ROWS_AT_A_TIME = 1_000;
/** An election looks back one minute; ten are beyond any doubt. */
const DEAD_PROCESS_SECONDS = 600;

/**
 * Leaves each history its newest audit row, and every row younger than `keepSeconds`: whoever resumes from a cursor within
 * that time still finds all changes since.
 */
export const pruneAudit = (db: Database, keepSeconds: number): Promise<number> =>
  inPieces(() =>
    db.run(
      `DELETE FROM history_audit WHERE (history_id, update_time) IN (
         SELECT a.history_id, a.update_time FROM history_audit a
          WHERE a.update_time < ${utcNowMinus(db.dialect, 1)}
            AND EXISTS (SELECT 1 FROM history_audit n
                         WHERE n.history_id = a.history_id AND n.update_time > a.update_time)
          LIMIT ${ROWS_AT_A_TIME})`,
      [keepSeconds],
    ),
  );

export const removeExpiredNotifications = (db: Database): Promise<number> =>
  inPieces(() =>
    db.transaction(async (tx) => {
      const rows = await tx.all<{ id: number }>(
        `SELECT id FROM notification WHERE expiration_time < ${utcNow(tx.dialect)} ORDER BY id LIMIT ${ROWS_AT_A_TIME}`,
      );
      const ids = tx.list(rows.map((row) => row.id));
      await tx.run(`DELETE FROM user_notification_association WHERE ${tx.isOneOf('notification_id', 1)}`, [
        ids,
      ]);
      return tx.run(`DELETE FROM notification WHERE ${tx.isOneOf('id', 1)}`, [ids]);
    }),
  );

/** Processes that were killed and never came back under the same name. */
export const removeDeadProcesses = (db: Sql): Promise<number> =>
  db.run(`DELETE FROM worker_process WHERE update_time < ${utcNowMinus(db.dialect, 1)}`, [
    DEAD_PROCESS_SECONDS,
  ]);

/** @returns how many rows were removed in all */
async function inPieces(piece: () => Promise<number>): Promise<number> {
  let removed = 0;
  for (;;) {
    const count = await piece();
    removed += count;
    if (count < ROWS_AT_A_TIME) return removed;
    // Others get their turn: SQLite has one writer.
    await new Promise(setImmediate);
  }
}
