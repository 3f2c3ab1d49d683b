/**
 * Removes rows of tables that grow without bound. Each job works in small pieces, so that nothing waits for it, and
 * starts no piece after `over` aborts.
 */
import { utcNow, utcNowMinus } from '../database/dialect.js';
import type { Database, Sql, SqlRow } from '../database/port.js';

const ROWS_AT_A_TIME = 1_000;
/** An election reads one minute back; ten are safe. */
const DEAD_PROCESS_SECONDS = 600;

/**
 * Leaves each history its newest audit row and every row that a process may still have to read. It walks along the
 * primary key, so a piece costs the same in a table of any size.
 */
export async function pruneAudit(db: Database, keepSeconds: number, over: AbortSignal): Promise<number> {
  let removed = 0;
  for (let from: AuditKey | undefined = BEFORE_ALL; from && !over.aborted; ) {
    const to = await endOfPiece(db, from);
    removed += await pruneBetween(db, keepSeconds, from, to);
    from = to;
    await othersTurn();
  }
  return removed;
}

interface AuditKey extends SqlRow {
  history_id: number;
  update_time: string;
}

const BEFORE_ALL: AuditKey = { history_id: 0, update_time: '0001-01-01 00:00:00' };

/** Undefined if less than a piece is left. */
async function endOfPiece(db: Sql, { history_id, update_time }: AuditKey): Promise<AuditKey | undefined> {
  const [row] = await db.all<AuditKey>(
    `SELECT history_id, update_time FROM history_audit WHERE (history_id, update_time) > ($1, $2)
      ORDER BY history_id, update_time LIMIT 1 OFFSET ${ROWS_AT_A_TIME - 1}`,
    [history_id, update_time],
  );
  return row;
}

/**
 * A row goes only when nobody can still have to read it. It was visible to the monitor `keepSeconds` ago, so it was read by
 * then, however late it was committed; and for who resumes from before that another row of the history stands for it: one of a
 * later transaction, unless the row's own was open at a position that is still stored.
 */
const READ_ON_POSTGRES = `
  EXISTS (SELECT 1 FROM history_audit n WHERE n.history_id = history_audit.history_id
             AND (n.xid, n.update_time) > (history_audit.xid, history_audit.update_time))
  AND (NOT EXISTS (SELECT 1 FROM lightcone_position) OR pg_visible_in_snapshot(xid, (
        SELECT split_part(position, '.', 2)::pg_snapshot FROM lightcone_position
         WHERE moment < ${utcNowMinus('postgresql', 1)} ORDER BY id DESC LIMIT 1)))
  AND xid <> ALL (ARRAY(SELECT pg_snapshot_xip(split_part(position, '.', 2)::pg_snapshot) FROM lightcone_position))`;

const READ_ON_SQLITE = `
  EXISTS (SELECT 1 FROM history_audit n WHERE n.history_id = history_audit.history_id AND n.id > history_audit.id)
  AND (NOT EXISTS (SELECT 1 FROM lightcone_position) OR id <= (
        SELECT CAST(substr(position, instr(position, '.') + 1) AS INTEGER) FROM lightcone_position
         WHERE moment < ${utcNowMinus('sqlite', 1)} ORDER BY id DESC LIMIT 1))`;

function pruneBetween(
  db: Sql,
  keepSeconds: number,
  from: AuditKey,
  to: AuditKey | undefined,
): Promise<number> {
  return db.run(
    `DELETE FROM history_audit
      WHERE (history_id, update_time) > ($2, $3) ${to ? 'AND (history_id, update_time) <= ($4, $5)' : ''}
        AND update_time < ${utcNowMinus(db.dialect, 1)}
        AND EXISTS (SELECT 1 FROM history_audit n
                     WHERE n.history_id = history_audit.history_id AND n.update_time > history_audit.update_time)
        AND ${db.dialect === 'postgresql' ? READ_ON_POSTGRES : READ_ON_SQLITE}`,
    [keepSeconds, from.history_id, from.update_time, ...(to ? [to.history_id, to.update_time] : [])],
  );
}

export const removeExpiredNotifications = (db: Database, over: AbortSignal): Promise<number> =>
  inPieces(over, () =>
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

/** Processes that were killed and never restarted under the same name. */
export const removeDeadProcesses = (db: Sql): Promise<number> =>
  db.run(`DELETE FROM worker_process WHERE update_time < ${utcNowMinus(db.dialect, 1)}`, [
    DEAD_PROCESS_SECONDS,
  ]);

/** @returns the total number of removed rows */
async function inPieces(over: AbortSignal, piece: () => Promise<number>): Promise<number> {
  let removed = 0;
  while (!over.aborted) {
    const count = await piece();
    removed += count;
    if (count < ROWS_AT_A_TIME) break;
    await othersTurn();
  }
  return removed;
}

/** SQLite has one writer. */
const othersTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
