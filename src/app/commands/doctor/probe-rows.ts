/** The rows of the probe's visitor, an anonymous browser that no other user sees. */
import type { HistoryId, SessionId } from '../../../core/events.js';
import { utcNow } from '../../../database/dialect.js';
import type { Database } from '../../../database/port.js';
import { type Micros, parseSql } from '../../../lib/time.js';
import { noOutbox } from '../../../outbox/writer.js';
import { SessionManager } from '../../../resources/sessions/manager.js';

export interface Visitor {
  sessionId: SessionId;
  sessionKey: string;
  historyId: HistoryId;
}

export const makeVisitor = (db: Database): Promise<Visitor> =>
  new SessionManager(db, noOutbox, () => {}).anonymous({ address: 'lightcone doctor' });

export const touch = (db: Database, { historyId }: Visitor): Promise<unknown> =>
  db.run(`UPDATE history SET update_time = ${utcNow(db.dialect)} WHERE id = $1`, [historyId]);

/** Undefined if nothing was recorded. */
export async function auditTime(db: Database, { historyId }: Visitor): Promise<Micros | undefined> {
  const [row] = await db.all<{ newest: string | null }>(
    'SELECT max(update_time) AS newest FROM history_audit WHERE history_id = $1',
    [historyId],
  );
  const newest = row?.newest;
  return newest ? parseSql(newest) : undefined;
}

/** Removes all rows of the visitor. A monitor that reads the change later finds no audience. */
export const removeVisitor = (db: Database, { sessionId, historyId }: Visitor): Promise<void> =>
  db.transaction(async (tx) => {
    await tx.run('DELETE FROM galaxy_session_to_history WHERE session_id = $1', [sessionId]);
    await tx.run('DELETE FROM galaxy_session WHERE id = $1', [sessionId]);
    await tx.run('DELETE FROM history_audit WHERE history_id = $1', [historyId]);
    await tx.run('DELETE FROM history WHERE id = $1', [historyId]);
  });
