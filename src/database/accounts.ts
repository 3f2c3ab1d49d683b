import type { HistoryId, SessionId, UserId } from '../core/events.js';
import { askedByCaller } from './dialect.js';
import {
  type Accounts,
  type HistoryCaller,
  type SessionAccount,
  type Sql,
  type SqlRow,
  toBoolean,
  type UserAccount,
} from './port.js';

/** A user, if any, that is neither deleted nor purged. */
const THERE = '(u.deleted IS NULL OR u.deleted = false) AND (u.purged IS NULL OR u.purged = false)';

/**
 * Section 5.3: undeleted key, undeleted user, and the user's newest undeleted key (by id for equal times).
 * `NOT n.deleted`, because for `n.deleted = false` SQLite uses the index on `deleted` and reads every key.
 */
const GOOD_KEY = `
  NOT k.deleted AND ${THERE}
  AND NOT EXISTS (SELECT 1 FROM api_keys n
                   WHERE n.user_id = k.user_id AND NOT n.deleted
                     AND (n.create_time > k.create_time OR (n.create_time = k.create_time AND n.id > k.id)))`;

interface SessionRow extends SqlRow {
  session_key: string;
  id: number;
  user_id: number | null;
  email: string | null;
  is_admin: unknown;
}

interface UserRow extends SqlRow {
  key: string;
  id: number;
  email: string;
  is_admin: unknown;
}

export class SqlAccounts implements Accounts {
  /** Lightcone's own table of administrators, which a database of Galaxy lacks. */
  readonly #isAdmin: string;

  constructor(
    private readonly db: Sql,
    options: { standalone: boolean },
  ) {
    this.#isAdmin = options.standalone
      ? 'EXISTS (SELECT 1 FROM lightcone_admin la WHERE la.user_id = u.id)'
      : 'false';
  }

  async sessionsByKeys(sessionKeys: readonly string[]): Promise<Map<string, SessionAccount>> {
    if (sessionKeys.length === 0) return new Map();
    const rows = await this.db.all<SessionRow>(
      `SELECT s.session_key, s.id, s.user_id, u.email, ${this.#isAdmin} AS is_admin
         FROM galaxy_session s LEFT JOIN galaxy_user u ON u.id = s.user_id
        WHERE ${this.db.isOneOf('s.session_key', 1)} AND s.is_valid = true
          AND ${THERE}`,
      [this.db.list(sessionKeys)],
    );
    return new Map(
      rows.map((row) => [
        row.session_key,
        {
          sessionId: row.id,
          userId: row.user_id ?? undefined,
          email: row.email ?? undefined,
          isAdmin: toBoolean(row.is_admin),
        },
      ]),
    );
  }

  async usersByApiKeys(keys: readonly string[]): Promise<Map<string, UserAccount>> {
    if (keys.length === 0) return new Map();
    const rows = await this.db.all<UserRow>(
      `SELECT k.key, u.id, u.email, ${this.#isAdmin} AS is_admin
         FROM api_keys k JOIN galaxy_user u ON u.id = k.user_id
        WHERE ${this.db.isOneOf('k.key', 1)} AND ${GOOD_KEY}`,
      [this.db.list(keys)],
    );
    return new Map(
      rows.map((row) => [row.key, { userId: row.id, email: row.email, isAdmin: toBoolean(row.is_admin) }]),
    );
  }

  async validApiKeys(keys: readonly string[]): Promise<Set<string>> {
    if (keys.length === 0) return new Set();
    const rows = await this.db.all<{ key: string }>(
      `SELECT k.key FROM api_keys k JOIN galaxy_user u ON u.id = k.user_id
        WHERE ${this.db.isOneOf('k.key', 1)} AND ${GOOD_KEY}`,
      [this.db.list(keys)],
    );
    return new Set(rows.map(({ key }) => key));
  }

  async emailsOf(userIds: readonly UserId[]): Promise<Map<UserId, string>> {
    if (userIds.length === 0) return new Map();
    const rows = await this.db.all<{ id: number; email: string }>(
      `SELECT u.id, u.email FROM galaxy_user u WHERE ${this.db.isOneOf('u.id', 1)} AND ${THERE}`,
      [this.db.list(userIds)],
    );
    return new Map(rows.map(({ id, email }) => [id, email]));
  }

  async userIdOf(email: string): Promise<UserId | undefined> {
    const rows = await this.db.all<{ id: number }>(
      `SELECT u.id FROM galaxy_user u WHERE lower(u.email) = lower($1) AND ${THERE}`,
      [email],
    );
    return rows[0]?.id;
  }

  async adminFlags(userIds: readonly UserId[]): Promise<Map<UserId, { email: string; isAdmin: boolean }>> {
    if (userIds.length === 0) return new Map();
    const rows = await this.db.all<{ id: number; email: string; is_admin: unknown }>(
      `SELECT u.id, u.email, ${this.#isAdmin} AS is_admin FROM galaxy_user u
        WHERE ${this.db.isOneOf('u.id', 1)} AND ${THERE}`,
      [this.db.list(userIds)],
    );
    return new Map(rows.map(({ id, email, is_admin }) => [id, { email, isAdmin: toBoolean(is_admin) }]));
  }

  async validSessions(sessionIds: readonly SessionId[]): Promise<Map<SessionId, UserId | undefined>> {
    if (sessionIds.length === 0) return new Map();
    const rows = await this.db.all<{ id: number; user_id: number | null }>(
      `SELECT s.id, s.user_id FROM galaxy_session s LEFT JOIN galaxy_user u ON u.id = s.user_id
        WHERE ${this.db.isOneOf('s.id', 1)} AND s.is_valid = true
          AND ${THERE}`,
      [this.db.list(sessionIds)],
    );
    return new Map(rows.map((row) => [row.id, row.user_id ?? undefined]));
  }

  async accessibleHistories(
    caller: HistoryCaller,
    historyIds: readonly HistoryId[],
  ): Promise<Set<HistoryId>> {
    return (await this.accessibleToEach([{ caller, historyIds }]))[0]!;
  }

  /** An anonymous history is accessible to the session whose *current* history it is (section 1.2). */
  async accessibleToEach(
    questions: readonly { caller: HistoryCaller; historyIds: readonly HistoryId[] }[],
  ): Promise<Set<HistoryId>[]> {
    const asked = questions.flatMap(({ caller: { userId, sessionId, isAdmin }, historyIds }, caller) =>
      historyIds.map((history_id) => ({
        caller,
        history_id,
        user_id: userId ?? null,
        session_id: sessionId ?? null,
        is_admin: isAdmin,
      })),
    );
    const accessible = questions.map(() => new Set<HistoryId>());
    if (asked.length === 0) return accessible;
    const rows = await this.db.all<{ caller: number; id: number }>(
      `SELECT asked.caller, h.id
         FROM ${askedByCaller(this.db.dialect, 1)} JOIN history h ON h.id = asked.history_id
        WHERE asked.is_admin OR h.importable = true OR h.published = true OR h.user_id = asked.user_id
           OR EXISTS (SELECT 1 FROM history_user_share_association x
                       WHERE x.history_id = h.id AND x.user_id = asked.user_id)
           OR (h.user_id IS NULL AND EXISTS (
               SELECT 1 FROM galaxy_session s
                WHERE s.id = asked.session_id AND s.current_history_id = h.id AND s.is_valid = true AND s.user_id IS NULL))`,
      [JSON.stringify(asked)],
    );
    for (const { caller, id } of rows) accessible[caller]!.add(id);
    return accessible;
  }
}
