/** Browser sessions of Lightcone itself, for the demo and for development without a Galaxy. */
import { randomBytes } from 'node:crypto';
import { LightconeError } from '../../core/errors.js';
import type { HistoryId, Principal, SessionId, UserId } from '../../core/events.js';
import { Limiter } from '../../core/limiter.js';
import { LIMITS } from '../../core/limits.js';
import { utcNow } from '../../database/dialect.js';
import { verifyPassword } from '../../database/passwords.js';
import type { Database, Sql } from '../../database/port.js';
import type { OutboxWriter } from '../../outbox/writer.js';
import { UNNAMED } from '../histories/manager.js';
import { insert as insertHistory, makeCurrent, newestOf } from '../histories/repository.js';

export interface NewSession {
  sessionId: SessionId;
  /** The decrypted content of the cookie. */
  sessionKey: string;
  historyId: HistoryId;
}

export interface Visitor {
  address: string;
}

/** Invalidates a session in the cache of the caller's process. */
export type ForgetSession = (sessionId: SessionId) => void;

export interface Account {
  id: UserId;
  password: string;
}

const SIGN_INS_WAITING = 100;
const NEW_SESSIONS_WAITING = 200;

export class SessionManager {
  // Scrypt uses a thread of the pool, and a new session the write lock, which others need, too.
  readonly #signIns = new Limiter(LIMITS.signInsAtOnce.value, SIGN_INS_WAITING);
  readonly #newSessions = new Limiter(LIMITS.newSessionsAtOnce.value, NEW_SESSIONS_WAITING);

  constructor(
    private readonly db: Database,
    private readonly outboxWriter: OutboxWriter,
    private readonly forget: ForgetSession,
  ) {}

  /** Creates a new history as its current one. */
  anonymous(visitor: Visitor): Promise<NewSession> {
    return this.#newSessions.run(
      () =>
        this.db.transaction(async (tx) => {
          const historyId = await insertHistory(tx, null, UNNAMED);
          return insertSession(tx, { userId: null, historyId, previous: null, visitor });
        }),
      'stranger',
    );
  }

  /** @param login e-mail or name, in any spelling that `normalLogin` accepts */
  async account(login: string): Promise<Account | undefined> {
    const [row] = await this.db.all<{ id: number; password: string }>(
      `SELECT id, password FROM galaxy_user
        WHERE (lower(email) = $1 OR username = $1) AND (deleted IS NULL OR deleted = false)
          AND (purged IS NULL OR purged = false)`,
      [normalLogin(login)],
    );
    return row;
  }

  /**
   * Creates a session of the user. Histories and tools of the visitor's anonymous session become the user's.
   * @throws LightconeError CREDENTIALS_INVALID
   */
  async login(
    caller: Principal,
    account: Account | undefined,
    password: string,
    visitor: Visitor,
  ): Promise<NewSession & { userId: UserId }> {
    const isRight = await this.#signIns.run(() => verifyPassword(password, account?.password), 'stranger');
    if (!isRight || !account) {
      throw new LightconeError('CREDENTIALS_INVALID', 'unknown user or wrong password');
    }
    const { id: userId } = account;
    const previous = caller.credential.kind === 'session' ? caller.credential.sessionId : null;
    const session = await this.db.transaction(async (tx) => {
      const taken =
        previous !== null && caller.userId === undefined
          ? await this.#takeOver(tx, previous, userId)
          : undefined;
      if (previous !== null) await this.#end(tx, previous);
      const historyId =
        taken ?? (await newestOf(tx, { userId })) ?? (await insertHistory(tx, userId, UNNAMED));
      return insertSession(tx, { userId, historyId, previous, visitor });
    });
    if (previous !== null) this.forget(previous);
    this.outboxWriter.wake();
    return { ...session, userId };
  }

  /** Ends the session, if there is one. */
  async logout(caller: Principal): Promise<void> {
    if (caller.credential.kind !== 'session') return;
    const { sessionId } = caller.credential;
    await this.db.transaction((tx) => this.#end(tx, sessionId));
    this.forget(sessionId);
    this.outboxWriter.wake();
  }

  /** Its streams end with it, on all workers. */
  async #end(tx: Sql, sessionId: SessionId): Promise<void> {
    await tx.run(
      `UPDATE galaxy_session SET is_valid = false, update_time = ${utcNow(tx.dialect)} WHERE id = $1`,
      [sessionId],
    );
    await this.outboxWriter.add(tx, { kind: 'permissions', sessionId });
  }

  /**
   * Moves histories and interactive tools of the anonymous session. @returns its current history, if it was among them
   */
  async #takeOver(tx: Sql, sessionId: SessionId, userId: UserId): Promise<HistoryId | undefined> {
    const now = utcNow(tx.dialect);
    const taken = await tx.all<{ id: number }>(
      `UPDATE history SET user_id = $1, update_time = ${now}
        WHERE user_id IS NULL
          AND id IN (SELECT x.history_id FROM galaxy_session_to_history x WHERE x.session_id = $2)
        RETURNING id`,
      [userId, sessionId],
    );
    const jobs = await tx.run(
      `UPDATE job SET user_id = $1, update_time = ${now} WHERE user_id IS NULL AND session_id = $2`,
      [userId, sessionId],
    );
    if (jobs > 0) await this.outboxWriter.add(tx, { kind: 'entry_points', userId });
    const [session] = await tx.all<{ current_history_id: number | null }>(
      'SELECT current_history_id FROM galaxy_session WHERE id = $1',
      [sessionId],
    );
    return taken.find(({ id }) => id === session?.current_history_id)?.id;
  }
}

/** The canonical spelling of a name, for look-ups and limits. */
export const normalLogin = (login: string): string => login.normalize('NFKC').trim().toLowerCase();

async function insertSession(
  tx: Sql,
  {
    userId,
    historyId,
    previous,
    visitor,
  }: { userId: UserId | null; historyId: HistoryId; previous: SessionId | null; visitor: Visitor },
): Promise<NewSession> {
  const now = utcNow(tx.dialect);
  const sessionKey = randomBytes(16).toString('hex');
  const [row] = await tx.all<{ id: number }>(
    `INSERT INTO galaxy_session (create_time, update_time, last_action, user_id, remote_addr, session_key, is_valid,
                                 prev_session_id)
     VALUES (${now}, ${now}, ${now}, $1, $2, $3, true, $4) RETURNING id`,
    [userId, visitor.address, sessionKey, previous],
  );
  const sessionId = row!.id;
  await makeCurrent(tx, sessionId, historyId);
  return { sessionId, sessionKey, historyId };
}
