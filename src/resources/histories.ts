/** Histories as the demo page needs them: the caller's own, and a new name. Standalone only. */
import { LightconeError } from '../core/errors.js';
import type { HistoryId, Principal } from '../core/events.js';
import { formatIso, parseSql } from '../core/time.js';
import { utcNow } from '../database/dialect.js';
import type { Database, Sql, SqlRow, SqlValue } from '../database/port.js';

export interface HistorySummary {
  id: HistoryId;
  name: string;
  /** Newest audit time, naive UTC ISO, as `history_update` tells it; null when nothing was ever audited. */
  updateTime: string | null;
}

type Caller = Pick<Principal, 'userId' | 'sessionId'>;

interface HistoryRow extends SqlRow {
  id: number;
  name: string | null;
  newest: string | null;
}

const SUMMARY = `SELECT h.id, h.name,
    (SELECT max(a.update_time) FROM history_audit a WHERE a.history_id = h.id) AS newest
  FROM history h`;

export class Histories {
  constructor(private readonly db: Database) {}

  /** The caller's own that are not deleted, newest first; none for a caller without user and session. */
  async own(caller: Caller): Promise<HistorySummary[]> {
    const owned = ownedBy(caller, 1);
    if (!owned) return [];
    const rows = await this.db.all<HistoryRow>(
      `${SUMMARY} WHERE ${owned.condition} AND (h.deleted IS NULL OR h.deleted = false) ORDER BY h.id DESC`,
      owned.params,
    );
    return rows.map(summary);
  }

  /** @throws LightconeError NOT_FOUND, or NOT_OWNER for everybody but the owner, administrators too */
  rename(caller: Caller, id: HistoryId, name: string): Promise<HistorySummary> {
    return this.db.transaction(async (tx) => {
      const owned = ownedBy(caller, 3);
      const changed =
        owned &&
        (await tx.run(
          `UPDATE history SET name = $1, update_time = ${utcNow(tx.dialect)}
            WHERE id = $2 AND id IN (SELECT h.id FROM history h WHERE ${owned.condition})`,
          [name, id, ...owned.params],
        ));
      const row = await find(tx, id);
      if (!row) throw new LightconeError('NOT_FOUND', 'there is no such history');
      if (!changed) throw new LightconeError('NOT_OWNER', 'only the owner may rename a history');
      return summary(row);
    });
  }
}

async function find(sql: Sql, id: HistoryId): Promise<HistoryRow | undefined> {
  const [row] = await sql.all<HistoryRow>(`${SUMMARY} WHERE h.id = $1`, [id]);
  return row;
}

/** A user owns by `user_id`; a session that nobody signed in to owns the anonymous histories tied to it. */
function ownedBy(
  { userId, sessionId }: Caller,
  position: number,
): { condition: string; params: SqlValue[] } | undefined {
  if (userId !== undefined) return { condition: `h.user_id = $${position}`, params: [userId] };
  if (sessionId === undefined) return undefined;
  return {
    condition: `h.user_id IS NULL
      AND h.id IN (SELECT x.history_id FROM galaxy_session_to_history x WHERE x.session_id = $${position})`,
    params: [sessionId],
  };
}

const summary = ({ id, name, newest }: HistoryRow): HistorySummary => ({
  id,
  name: name ?? '',
  updateTime: newest === null ? null : formatIso(parseSql(newest)),
});
