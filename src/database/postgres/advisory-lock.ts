import { createHash, randomBytes } from 'node:crypto';
import pg from 'pg';
import { withDeadline } from '../../core/lifecycle.js';
import type { LeaderLock, LockHolder, Sql } from '../port.js';
import { translateError } from './errors.js';
import { clientOptions, Sockets } from './options.js';

/** Keeps our keys apart from other users of advisory locks in the same database: "LCNE". */
const CLASS_ID = 0x4c434e45;
const CHECK_TIMEOUT_MS = 2_000;
/** The holder's application_name, of which the server keeps 63 bytes: prefix, label, `/`, session. */
const LABEL_PREFIX = 'lightcone lock ';
const SEPARATOR = '/';

/** Two-key advisory locks show in pg_locks with objsubid 2; the keys are per database. */
const HOLDER = `
  SELECT l.pid, a.application_name AS label
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
   WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND l.classid = ${CLASS_ID} AND l.objid = $1`;

interface LockOptions {
  url: string;
  sql: Sql;
  name: string;
  label: string;
}

interface Session {
  client: pg.Client;
  /** Tells this session from others of the same holder. */
  id: string;
  /** Ends a connection that may not answer any more. */
  destroy(): void;
}

/**
 * A session-level advisory lock on a connection of its own, which is open only while the lock is held: the server frees
 * the lock the moment that session ends, however it ends.
 */
export class AdvisoryLock implements LeaderLock {
  readonly #options: LockOptions;
  readonly #key: number;
  #session: Session | undefined;
  /** The session that was lost last; on a half-open connection the server may still take it for a living one. */
  #lostId: string | undefined;
  #listener: (reason: string) => void = () => {};

  constructor(options: LockOptions) {
    this.#options = options;
    this.#key = lockKey(options.name);
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
      const { rows } = await session.client.query<{ locked: boolean }>(
        `SELECT pg_try_advisory_lock(${CLASS_ID}, $1) AS locked`,
        [this.#key],
      );
      if (rows[0]?.locked) {
        this.#session = session;
        return true;
      }
    } catch (error) {
      session.destroy();
      throw translateError(error, 'the connection for the leader lock');
    }
    session.destroy();
    return false;
  }

  async check(): Promise<boolean> {
    const session = this.#session;
    if (!session) return false;
    try {
      await session.client.query('SELECT 1');
    } catch (error) {
      this.#lose(session, (error as Error).message);
    }
    return this.#session === session;
  }

  async release(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    if (!session) return;
    // Ending the session frees the lock; a server that does not answer is not waited for.
    await withDeadline(session.client.end(), CHECK_TIMEOUT_MS, () => new Error('no answer')).catch(() =>
      session.destroy(),
    );
  }

  async holder(): Promise<LockHolder> {
    const [row] = await this.#options.sql.all<{ label: string | null }>(HOLDER, [this.#key]);
    if (!row) return { held: false };
    if (!row.label?.startsWith(LABEL_PREFIX)) return { held: true, label: undefined };
    const [label, id] = row.label.slice(LABEL_PREFIX.length).split(SEPARATOR);
    if (id !== undefined && id === this.#lostId && !this.#session) {
      await this.evict();
      return { held: false };
    }
    return { held: true, label };
  }

  async evict(): Promise<boolean> {
    if (this.#session) return false;
    const ended = await this.#options.sql.all<{ ended: boolean }>(
      `SELECT pg_terminate_backend(holder.pid) AS ended FROM (${HOLDER}) holder`,
      [this.#key],
    );
    return ended.some((row) => row.ended);
  }

  #createSession(): Session {
    const sockets = new Sockets(this.#options.url);
    const id = randomBytes(4).toString('hex');
    const name = LABEL_PREFIX + this.#options.label.slice(0, 36) + SEPARATOR + id;
    const client = new pg.Client({
      ...clientOptions(this.#options.url, name),
      query_timeout: CHECK_TIMEOUT_MS,
      stream: sockets.stream,
    });
    const session: Session = {
      client,
      id,
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
    this.#lostId = session.id;
    session.destroy();
    this.#listener(reason);
  }
}

/** A positive int4: pg_locks shows the key as an unsigned oid. */
const lockKey = (name: string): number =>
  createHash('sha256').update(name).digest().readUInt32BE(0) & 0x7fffffff;
