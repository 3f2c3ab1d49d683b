import type { HistoryId, SessionId, UserId } from '../core/events.js';
import {
  type Accounts,
  type SessionAccount,
  type Sql,
  type SqlRow,
  toBoolean,
  type UserAccount,
} from './port.js';

/** A user, where there is one, that is neither deleted nor purged. */
const THERE = '(u.deleted IS NULL OR u.deleted = false) AND (u.purged IS NULL OR u.purged = false)';

/**
 * Section 5.3: undeleted key, undeleted user, and the user's newest undeleted key (by id where times are equal).
 *
 * `NOT n.deleted`, because for `n.deleted = false` SQLite takes the index on `deleted` and looks at every key there is.
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
  /** Lightcone's own table of administrators; a database that Galaxy owns has none. */
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

  /** An anonymous history is accessible to the session whose *current* history it is (section 1.2). */
  async accessibleHistories(
    caller: { userId: UserId | undefined; sessionId: SessionId | undefined; isAdmin: boolean },
    historyIds: readonly HistoryId[],
  ): Promise<Set<HistoryId>> {
    if (historyIds.length === 0) return new Set();
    const rows = await this.db.all<{ id: number }>(
      `SELECT h.id FROM history h
        WHERE ${this.db.isOneOf('h.id', 1)}
          AND (${caller.isAdmin ? 'true' : 'false'}
            OR h.importable = true OR h.published = true
            OR h.user_id = $2
            OR h.id IN (SELECT x.history_id FROM history_user_share_association x WHERE x.user_id = $2)
            OR (h.user_id IS NULL AND h.id IN (
                SELECT s.current_history_id FROM galaxy_session s
                 WHERE s.id = $3 AND s.is_valid = true AND s.user_id IS NULL)))`,
      [this.db.list(historyIds), caller.userId ?? null, caller.sessionId ?? null],
    );
    return new Set(rows.map((row) => row.id));
  }
}
