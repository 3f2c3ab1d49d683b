import { createHash } from 'node:crypto';
import pg from 'pg';
import { withDeadline } from '../../lib/lifecycle.js';
import { TRIGGER_LOCK } from '../migrations/0006-quiet-triggers.js';
import type { LeaderLock, LockHolder, Sql } from '../port.js';
import { translateError } from './errors.js';
import { clientOptions, Sockets } from './options.js';
import type { TriggerLock } from './quiet-triggers.js';
import { checkKind, type Servers } from './servers.js';

/** Separates our keys from other advisory locks in the same database: "LCNE". */
const CLASS_ID = 0x4c434e45;
const ANSWER_MS = 2_000;
/** How long the server keeps the lock of a silent holder. */
export const SILENCE_MS = 7_500;
/** The holder's application_name, of which the server keeps 63 bytes of ASCII. */
const OURS = 'lightcone';
const LABEL_PREFIX = `${OURS} lock `;
const NAME_BYTES = 63;
/** Wait for transactions that will NOTIFY; the next try follows at once. */
const LONGEST_WAIT_MS = 500;
const LOCK_NOT_AVAILABLE = '55P03';
const LEAVE_SAVEPOINT = 'ROLLBACK TO SAVEPOINT triggers; RELEASE SAVEPOINT triggers';

/** pg_locks shows two-key advisory locks with objsubid 2; the keys are per database. */
const HOLDER = `
  SELECT l.pid, a.application_name AS label, a.usename AS account
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
   WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND l.classid = ${CLASS_ID} AND l.objid = $1`;

export interface AdvisoryLockOptions {
  servers: Servers;
  sql: Sql;
  name: string;
  label: string;
  silenceMs?: number;
  onAcquired?: (lock: TriggerLock) => void;
}

interface Session {
  url: string;
  client: pg.Client;
  /** The process of the server; undefined until the lock is taken. */
  pid?: number;
  /** Destroys a connection that may not answer any more. */
  destroy(): void;
}

/**
 * An advisory lock of one open transaction, on a connection of its own.
 * It belongs to a transaction and not to a session, because a pooler in transaction mode passes the lock of a session
 * on to the next client, but keeps the server connection of an open transaction and ends both with the client. The
 * server itself ends a transaction that is silent for `silenceMs`, so nobody has to judge a frozen or vanished holder.
 * It has no snapshot, so VACUUM does not wait for it.
 */
export class AdvisoryLock implements LeaderLock, TriggerLock {
  readonly #options: AdvisoryLockOptions;
  readonly #key: number;
  readonly #silenceMs: number;
  #session: Session | undefined;
  #listener: (reason: string) => void = () => {};
  /** The session with a savepoint that silences the triggers. */
  #silencing: Session | undefined;
  /**
   * Serializes the statements: between a failure and the rollback to its savepoint, the transaction accepts no other.
   */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: AdvisoryLockOptions) {
    this.#options = options;
    this.#key = lockKey(options.name);
    this.#silenceMs = Math.round(options.silenceMs ?? SILENCE_MS);
  }

  get held(): boolean {
    return this.#session !== undefined;
  }

  onLost(listener: (reason: string) => void): void {
    this.#listener = listener;
  }

  async tryAcquire(): Promise<boolean> {
    if (this.#session) return true;
    const session = this.#createSession();
    try {
      await session.client.connect();
      await checkKind(session.client, session.url);
      this.#options.servers.reached(session.url);
      // In one message, because a pooler may count the pauses. `transaction_timeout` exists from PostgreSQL 17 on.
      const results = (await session.client.query(`
        BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
        SET LOCAL idle_in_transaction_session_timeout = ${this.#silenceMs};
        SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout';
        SELECT pg_try_advisory_xact_lock(${CLASS_ID}, ${this.#key}) AS locked, pg_backend_pid() AS pid`)) as unknown as pg.QueryResult<{
        locked: boolean;
        pid: number;
      }>[];
      const [answer] = results.at(-1)!.rows;
      if (answer?.locked) {
        session.pid = answer.pid;
        this.#session = session;
        this.#options.onAcquired?.(this);
        return true;
      }
    } catch (error) {
      session.destroy();
      this.#options.servers.leave(session.url, error);
      throw translateError(error, 'the connection for the leader lock');
    }
    session.destroy();
    return false;
  }

  async check(): Promise<boolean> {
    const session = this.#session;
    // The other connections of this process have left that server, so the lock there prevents no other leader.
    if (session && this.#options.servers.hasLeft(session.url)) this.#lose(session, 'another server is used');
    return session !== undefined && this.#inTurn(() => this.#run(session, 'SELECT 1'));
  }

  /**
   * Waits briefly for transactions that will NOTIFY; new ones will not. It uses a savepoint, which can release this
   * lock without the leader's own.
   */
  async silenceTriggers(): Promise<boolean> {
    const session = this.#session;
    if (!session) return false;
    const waitMs = Math.min(LONGEST_WAIT_MS, Math.round(this.#silenceMs / 5));
    return this.#inTurn(async () => {
      try {
        await session.client.query(
          `SAVEPOINT triggers; SET LOCAL lock_timeout = ${waitMs}; SELECT pg_advisory_xact_lock(${TRIGGER_LOCK})`,
        );
        this.#silencing = session;
        return this.#session === session;
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        if (code === LOCK_NOT_AVAILABLE) await this.#run(session, LEAVE_SAVEPOINT);
        else this.#lose(session, message);
        return false;
      }
    });
  }

  async unsilenceTriggers(): Promise<boolean> {
    const session = this.#silencing;
    this.#silencing = undefined;
    return session === undefined || this.#inTurn(() => this.#run(session, LEAVE_SAVEPOINT));
  }

  /** @returns whether the lock is still held */
  async #run(session: Session, text: string): Promise<boolean> {
    try {
      if (this.#session === session) await session.client.query(text);
    } catch (error) {
      this.#lose(session, (error as Error).message);
    }
    return this.#session === session;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async release(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    if (!session) return;
    // A pooler closes the server connection of a client that leaves in the middle of a transaction, and some log an
    // error. A server that does not answer is not waited for.
    const goodbye = session.client.query('ROLLBACK').then(() => session.client.end());
    await withDeadline(goodbye, ANSWER_MS, () => new Error('no answer')).catch(() => session.destroy());
  }

  async holder(): Promise<LockHolder> {
    const [row] = await this.#options.sql.all<{ pid: number; label: string | null; account: string | null }>(
      HOLDER,
      [this.#key],
    );
    if (!row) return { held: false };
    const { pid, label, account } = row;
    if (label?.startsWith(LABEL_PREFIX)) return { held: true, label: label.slice(LABEL_PREFIX.length) };
    // Every account that may connect can take an advisory lock. A pooler has no name of its own.
    if (!label || label.startsWith(OURS)) return { held: true, label: undefined };
    return { held: true, label: undefined, stranger: { pid, account: account ?? 'unknown' } };
  }

  #createSession(): Session {
    const { url } = this.#options.servers;
    const sockets = new Sockets(url);
    const name = (LABEL_PREFIX + this.#options.label).replace(/[^ -~]/g, '?').slice(0, NAME_BYTES);
    const client = new pg.Client({
      ...clientOptions(url, name),
      query_timeout: Math.min(ANSWER_MS, this.#silenceMs / 2),
      stream: sockets.stream,
    });
    const session: Session = {
      url,
      client,
      destroy: () => {
        client.end().catch(() => {});
        sockets.destroy();
      },
    };
    client.on('error', (error) => this.#lose(session, error.message));
    client.on('end', () => this.#lose(session, 'the session ended'));
    return session;
  }

  #lose(session: Session, reason: string): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    session.destroy();
    this.#listener(reason);
    this.#endGhost(session.pid);
  }

  /** On a half-open connection the server believes that the lost session is alive. Do not wait until it notices. */
  #endGhost(pid: number | undefined): void {
    this.#options.sql
      .all(`SELECT pg_terminate_backend(holder.pid) FROM (${HOLDER}) holder WHERE holder.pid = $2`, [
        this.#key,
        pid ?? 0,
      ])
      .catch(() => {});
  }
}

/** A positive int4, because pg_locks shows the key as an unsigned oid. */
const lockKey = (name: string): number =>
  createHash('sha256').update(name).digest().readUInt32BE(0) & 0x7fffffff;
