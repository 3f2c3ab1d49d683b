import type { HistoryChange, HistoryId, Micros, SessionId, UserId } from '../core/events.js';
import { formatSql, parseSql } from '../core/time.js';
import { believedUntil, utcNow } from './dialect.js';
import type { ChangeLog, ChangeScope, Database, OnUnreadable, OwnerScope, SqlRow, SqlValue } from './port.js';

interface ChangeRow extends SqlRow {
  history_id: number;
  user_id: number | null;
  session_id: number | null;
  /** Null where no row has a time that can be believed. */
  newest: string | null;
  audit_rows: number;
  unbelievable: number;
}

type DatedRow = ChangeRow & { newest: string };
type EntryPointScope = Parameters<ChangeLog['entryPointOwnersSince']>[1];

/** Owner, or for an anonymous history its valid sessions, one row each; an anonymous history without one keeps one row. */
const OWNERS = `
  JOIN history h ON h.id = c.history_id
  LEFT JOIN galaxy_session_to_history sh ON h.user_id IS NULL AND sh.history_id = h.id
  LEFT JOIN galaxy_session s ON s.id = sh.session_id AND s.is_valid AND s.user_id IS NULL`;

export class SqlChangeLog implements ChangeLog {
  /** @param onUnreadable is told of histories with audit rows that were left out */
  constructor(
    private readonly db: Database,
    private readonly onUnreadable: OnUnreadable = () => {},
  ) {}

  now(): Promise<Micros> {
    return this.db.now();
  }

  /** Grouped by an expression: by the column, SQLite would walk the whole primary key instead of the index on the time. */
  async changesSince(floor: Micros, scope: ChangeScope): Promise<HistoryChange[]> {
    const { condition, params } = this.#scope(scope);
    const until = believedUntil(this.db.dialect);
    const rows = await this.db.all<ChangeRow>(
      `SELECT c.history_id, h.user_id, s.id AS session_id, c.newest, c.audit_rows, c.unbelievable
         FROM (SELECT max(a.history_id) AS history_id, max(a.update_time) FILTER (WHERE a.update_time <= ${until}) AS newest,
                      count(*) FILTER (WHERE a.update_time <= ${until}) AS audit_rows,
                      count(*) FILTER (WHERE a.update_time > ${until}) AS unbelievable
                 FROM history_audit a
                WHERE a.update_time > $1 AND ${condition}
                GROUP BY +a.history_id) c ${OWNERS}
        ORDER BY c.history_id`,
      [formatSql(floor), ...params],
    );
    this.#report(rows);
    return merge(rows.filter((row): row is DatedRow => row.newest !== null));
  }

  /** Scalar sub-queries on purpose: each reads only the end of the (history_id, update_time) key, however long its past. */
  async changesOf(historyIds: readonly HistoryId[], floor: Micros): Promise<HistoryChange[]> {
    if (historyIds.length === 0) return [];
    const until = believedUntil(this.db.dialect);
    const rows = await this.db.all<ChangeRow & { now: string }>(
      `SELECT c.history_id, h.user_id, s.id AS session_id, c.newest, c.audit_rows, c.unbelievable,
              ${utcNow(this.db.dialect)} AS now
         FROM (SELECT w.id AS history_id,
                      (SELECT max(a.update_time) FROM history_audit a
                        WHERE a.history_id = w.id AND a.update_time <= ${until}) AS newest,
                      (SELECT count(*) FROM history_audit a
                        WHERE a.history_id = w.id AND a.update_time > $2 AND a.update_time <= ${until}) AS audit_rows,
                      (SELECT count(*) FROM history_audit a
                        WHERE a.history_id = w.id AND a.update_time > ${until}) AS unbelievable
                 FROM history w
                WHERE ${this.db.isOneOf('w.id', 1)}) c ${OWNERS}
        WHERE c.newest IS NOT NULL OR c.unbelievable > 0
        ORDER BY c.history_id`,
      [this.db.list(historyIds), formatSql(floor)],
    );
    this.#report(rows);
    // Announced just now, whatever its only row says.
    return merge(rows.map((row) => ({ ...row, newest: row.newest ?? row.now })));
  }

  async historiesOf(owner: OwnerScope): Promise<HistoryId[]> {
    const rows =
      owner.kind === 'user'
        ? await this.db.all<{ id: number }>('SELECT id FROM history WHERE user_id = $1', [owner.userId])
        : await this.db.all<{ id: number }>(
            `SELECT DISTINCT o.id FROM galaxy_session_to_history x JOIN history o ON o.id = x.history_id
              WHERE x.session_id = $1 AND o.user_id IS NULL`,
            [owner.sessionId],
          );
    return rows.map(({ id }) => id);
  }

  #report(rows: readonly ChangeRow[]): void {
    const ids = rows.filter((row) => row.unbelievable > 0).map((row) => row.history_id);
    if (ids.length > 0) this.onUnreadable('history_audit', ids, 'update_time is more than a day ahead');
  }

  async entryPointOwnersSince(
    floor: Micros,
    scope: EntryPointScope,
  ): Promise<{ userIds: UserId[]; sessionIds: SessionId[] }> {
    const owner =
      scope.kind === 'user'
        ? { condition: 'j.user_id = $2', params: [scope.userId] }
        : scope.kind === 'session'
          ? { condition: 'j.user_id IS NULL AND j.session_id = $2', params: [scope.sessionId] }
          : { condition: 'true', params: [] };
    const rows = await this.db.all<{ user_id: number | null; session_id: number | null }>(
      `SELECT DISTINCT j.user_id, CASE WHEN j.user_id IS NULL THEN j.session_id END AS session_id
         FROM interactivetool_entry_point e JOIN job j ON j.id = e.job_id
        WHERE (e.modified_time > $1 OR e.created_time > $1) AND ${owner.condition}`,
      [formatSql(floor), ...owner.params],
    );
    return {
      userIds: rows.flatMap((row) => row.user_id ?? []),
      sessionIds: rows.flatMap((row) => row.session_id ?? []),
    };
  }

  #scope(scope: ChangeScope): { condition: string; params: SqlValue[] } {
    switch (scope.kind) {
      case 'all':
        return { condition: 'true', params: [] };
      case 'user':
        return {
          condition: 'a.history_id IN (SELECT id FROM history WHERE user_id = $2)',
          params: [scope.userId],
        };
      case 'session':
        return {
          condition: `a.history_id IN (
            SELECT o.id FROM galaxy_session_to_history x JOIN history o ON o.id = x.history_id
             WHERE x.session_id = $2 AND o.user_id IS NULL)`,
          params: [scope.sessionId],
        };
      case 'histories':
        return { condition: this.db.isOneOf('a.history_id', 2), params: [this.db.list(scope.historyIds)] };
    }
  }
}

/** One row per (history, session) becomes one change per history. */
function merge(rows: readonly DatedRow[]): HistoryChange[] {
  const changes = new Map<HistoryId, HistoryChange & { sessionIds: SessionId[] }>();
  for (const row of rows) {
    let change = changes.get(row.history_id);
    if (!change) {
      change = {
        historyId: row.history_id,
        userId: row.user_id ?? undefined,
        sessionIds: [],
        newest: parseSql(row.newest),
        rows: row.audit_rows,
      };
      changes.set(row.history_id, change);
    }
    if (row.session_id !== null) change.sessionIds.push(row.session_id);
  }
  for (const change of changes.values()) change.sessionIds = [...new Set(change.sessionIds)];
  return [...changes.values()];
}
