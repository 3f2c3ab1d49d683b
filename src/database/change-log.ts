import type { HistoryChange, HistoryId, Micros, SessionId, UserId } from '../core/events.js';
import { formatSql, parseSql, secondsToMicros } from '../lib/time.js';
import { believedUntil, utcNow } from './dialect.js';
import { scopeCondition } from './log/scope.js';
import { SequenceLog } from './log/sequence-log.js';
import { type ChangeRow, OWNERS, type OwnedRow, type Visibility } from './log/visibility.js';
import { formatMark } from './log/write-mark.js';
import { XidLog } from './log/xid-log.js';
import { XminLog } from './log/xmin-log.js';
import type {
  ChangeLog,
  ChangeScope,
  Database,
  LogEnd,
  LogPosition,
  LogRead,
  MarkWrite,
  OnUnreadable,
  OwnerScope,
  WriteMarks,
} from './port.js';

interface TimedRow extends OwnedRow {
  /** Null if no row has a credible time. */
  newest: string | null;
  unbelievable: number;
}

type EntryPointScope = Parameters<ChangeLog['entryPointOwnersSince']>[1];

/** Maximum number of audit rows in one piece of a long read. */
const PIECE = 5_000;
const DAY = secondsToMicros(86_400);
const UNBELIEVABLE = 'update_time is more than a day ahead';

export class SqlChangeLog implements ChangeLog, WriteMarks {
  private log: Promise<{ visibility: Visibility; name: string }> | undefined;

  /** @param onUnreadable called with histories whose audit rows have impossible times */
  constructor(
    private readonly db: Database,
    private readonly onUnreadable: OnUnreadable = () => {},
  ) {}

  now(): Promise<Micros> {
    return this.db.now();
  }

  async identify(): Promise<string> {
    const log = this.open();
    this.log = log;
    log.catch(() => {
      if (this.log === log) this.log = undefined;
    });
    return (await log).name;
  }

  private async open(): Promise<{ visibility: Visibility; name: string }> {
    const visibility = await chooseVisibility(this.db);
    return { visibility, name: await visibility.identify() };
  }

  private async identified(): Promise<{ visibility: Visibility; name: string }> {
    if (this.log === undefined) await this.identify();
    return this.log!;
  }

  async end(): Promise<LogEnd> {
    const { visibility, name } = await this.identified();
    const { where, moment } = await visibility.end();
    return { position: `${name}.${where}`, moment };
  }

  async marker(): Promise<MarkWrite> {
    const { visibility, name } = await this.identified();
    return async (tx) => {
      const number = await visibility.mark(tx);
      // The next write identifies the log again.
      if (number === undefined) this.log = undefined;
      return number === undefined ? undefined : formatMark(name, number);
    };
  }

  async since(position: LogPosition, scope: ChangeScope, limit = PIECE): Promise<LogRead | undefined> {
    return (await this.ask(position, scope, limit)) ?? this.askAnew(position, scope, limit);
  }

  /** Perhaps this process has not noticed yet that the log has changed. */
  private async askAnew(
    position: LogPosition,
    scope: ChangeScope,
    limit: number,
  ): Promise<LogRead | undefined> {
    await this.identify();
    return this.ask(position, scope, limit);
  }

  private async ask(position: LogPosition, scope: ChangeScope, limit: number): Promise<LogRead | undefined> {
    const { visibility, name } = await this.identified();
    if (!position.startsWith(`${name}.`)) return undefined;
    const piece = await visibility.since(position.slice(name.length + 1), scope, limit);
    if (!piece) return undefined;
    const { where, moment, complete, rows, auditRows = rows.length } = piece;
    const odd = rows.filter(({ newest }) => parseSql(newest) > moment + DAY).map((row) => row.history_id);
    if (odd.length > 0) this.onUnreadable('history_audit', odd, UNBELIEVABLE);
    return { position: `${name}.${where}`, moment, complete, changes: merge(rows, moment), auditRows };
  }

  /**
   * Grouped by an expression: grouped by the column, SQLite would read the whole primary key instead of the index on
   * the time.
   */
  async changesSince(floor: Micros, scope: ChangeScope): Promise<HistoryChange[]> {
    const { condition, params } = scopeCondition(this.db, scope, 2);
    const until = believedUntil(this.db.dialect);
    const rows = await this.db.all<TimedRow>(
      `SELECT c.history_id, h.user_id, s.id AS session_id, c.newest, c.unbelievable
         FROM (SELECT max(a.history_id) AS history_id, max(a.update_time) FILTER (WHERE a.update_time <= ${until}) AS newest,
                      count(*) FILTER (WHERE a.update_time > ${until}) AS unbelievable
                 FROM history_audit a
                WHERE a.update_time > $1 AND ${condition}
                GROUP BY +a.history_id) c ${OWNERS}
        ORDER BY c.history_id`,
      [formatSql(floor), ...params],
    );
    this.#report(rows);
    return merge(rows.filter((row): row is TimedRow & ChangeRow => row.newest !== null));
  }

  /**
   * A scalar sub-query reads only the end of the (history_id, update_time) key, however long the past of the history.
   */
  async changesOf(historyIds: readonly HistoryId[]): Promise<HistoryChange[]> {
    if (historyIds.length === 0) return [];
    const until = believedUntil(this.db.dialect);
    const rows = await this.db.all<TimedRow & { now: string }>(
      `SELECT c.history_id, h.user_id, s.id AS session_id, c.newest, c.unbelievable, ${utcNow(this.db.dialect)} AS now
         FROM (SELECT w.id AS history_id,
                      (SELECT max(a.update_time) FROM history_audit a
                        WHERE a.history_id = w.id AND a.update_time <= ${until}) AS newest,
                      (SELECT count(*) FROM history_audit a
                        WHERE a.history_id = w.id AND a.update_time > ${until}) AS unbelievable
                 FROM history w
                WHERE ${this.db.isOneOf('w.id', 1)}) c ${OWNERS}
        WHERE c.newest IS NOT NULL OR c.unbelievable > 0
        ORDER BY c.history_id`,
      [this.db.list(historyIds)],
    );
    this.#report(rows);
    // The hint is new, whatever the only row says.
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

  #report(rows: readonly TimedRow[]): void {
    const ids = rows.filter((row) => row.unbelievable > 0).map((row) => row.history_id);
    if (ids.length > 0) this.onUnreadable('history_audit', ids, UNBELIEVABLE);
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
}

/** Chooses by the audit table: its own numbers (Lightcone's), or only PostgreSQL's row headers (Galaxy's). */
async function chooseVisibility(db: Database): Promise<Visibility> {
  if (db.dialect === 'sqlite') return new SequenceLog(db);
  const columns = await db.all(
    `SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('history_audit') AND attname = 'xid' AND NOT attisdropped`,
  );
  return columns.length > 0 ? new XidLog(db) : new XminLog(db);
}

/** Merges one row per (history, session) into one change per history. A future time (or `infinity`) counts as now. */
export function merge(rows: readonly ChangeRow[], now = Number.POSITIVE_INFINITY): HistoryChange[] {
  const changes = new Map<HistoryId, HistoryChange & { sessionIds: SessionId[] }>();
  for (const row of rows) {
    let change = changes.get(row.history_id);
    if (!change) {
      change = {
        historyId: row.history_id,
        userId: row.user_id ?? undefined,
        sessionIds: [],
        newest: Math.min(parseSql(row.newest), now),
      };
      changes.set(row.history_id, change);
    }
    if (row.session_id !== null) change.sessionIds.push(row.session_id);
  }
  for (const change of changes.values()) change.sessionIds = [...new Set(change.sessionIds)];
  return [...changes.values()];
}
