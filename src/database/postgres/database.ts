import pg from 'pg';
import { Backoff } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import { LightconeError } from '../../core/errors.js';
import { sleep } from '../../core/lifecycle.js';
import { type Micros, parseSql } from '../../core/time.js';
import type { Logger } from '../../telemetry/logger.js';
import { utcNow } from '../dialect.js';
import type { Database, HintListener, HintSource, LeaderLock, Sql, SqlRow, SqlValue } from '../port.js';
import { AdvisoryLock } from './advisory-lock.js';
import { isUnavailable, reasonOf, translateError } from './errors.js';
import { ListenSource } from './listen-source.js';
import { clientOptions, maskUrl, prepareSession, Sockets } from './options.js';
import { PostgresSql, type QueryResult } from './sql.js';

/** The driver's words for a missed `query_timeout`. */
const QUERY_TIMEOUT = 'Query read timeout';
/** After a goodbye to a server that may not answer. */
const GOODBYE_MS = 1_000;
/** How often a start that waits for the server says so. */
const COMPLAIN_EVERY_MS = 5_000;

export interface PostgresOptions {
  /** libpq-style; holds the password, is never logged. */
  url: string;
  poolSize: number;
  logger: Logger;
  clock: Clock;
}

interface WatchedPool {
  pool: pg.Pool;
  sockets: Sockets;
}

export class PostgresDatabase extends PostgresSql implements Database {
  readonly #options: PostgresOptions;
  readonly #display: string;
  readonly #logger: Logger;
  #ended: Promise<unknown> = Promise.resolve();
  #pool: WatchedPool | undefined;
  #starting: Promise<void> | undefined;
  #aborted = new AbortController();
  #problem: string | undefined = 'the database has not been connected yet';
  #statements = 0;

  constructor(options: PostgresOptions) {
    super();
    this.#options = options;
    this.#display = maskUrl(options.url);
    this.#logger = options.logger;
  }

  get statements(): number {
    return this.#statements;
  }

  problem(): string | undefined {
    return this.#problem;
  }

  /** Waits until the server answers, however long that takes; rejects only when `signal` is aborted or `stop` is called. */
  start(signal?: AbortSignal): Promise<void> {
    this.#starting ??= this.#start(signal).catch(async (error) => {
      await this.stop();
      throw error;
    });
    return this.#starting;
  }

  async #start(signal: AbortSignal | undefined): Promise<void> {
    this.#aborted = new AbortController();
    const aborted = signal ? AbortSignal.any([signal, this.#aborted.signal]) : this.#aborted.signal;
    this.#pool = this.#createPool();
    const backoff = new Backoff(50, 1_000);
    let complainedAt = Number.NEGATIVE_INFINITY;
    for (;;) {
      try {
        await this.all('SELECT 1');
        this.#logger.info({ database: this.#display }, 'database connected');
        return;
      } catch (error) {
        aborted.throwIfAborted();
        if (this.#options.clock.monotonic() - complainedAt >= COMPLAIN_EVERY_MS) {
          complainedAt = this.#options.clock.monotonic();
          this.#logger.warn(
            { database: this.#display, reason: reasonOf((error as Error).cause ?? error) },
            'waiting for the database',
          );
        }
        await sleep(backoff.next(), aborted);
      }
    }
  }

  async stop(): Promise<void> {
    this.#aborted.abort(new Error('the database is being stopped'));
    const pool = this.#pool;
    this.#pool = undefined;
    this.#starting = undefined;
    this.#problem = 'the database has been stopped';
    if (pool) this.#retire(pool);
    await this.#ended;
  }

  async transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    const client = await this.#watched(() => this.#running().connect());
    // The pool listens to idle clients only: without a listener a server that goes away now would end the process.
    const ignore = () => {};
    client.on('error', ignore);
    const tx = new TransactionSql((text, params) => this.#ask(client, text, params));
    let broken: Error | undefined;
    try {
      await tx.run('BEGIN ISOLATION LEVEL READ COMMITTED');
      const result = await work(tx);
      await tx.run('COMMIT');
      return result;
    } catch (error) {
      // After a missed deadline the answer may still arrive: such a connection is closed, which rolls back as well.
      if (isUnavailable(error)) broken = error;
      else
        await tx.run('ROLLBACK').catch((failure: Error) => {
          broken = failure;
        });
      throw error;
    } finally {
      client.off('error', ignore);
      client.release(broken);
    }
  }

  async now(): Promise<Micros> {
    const [row] = await this.all<{ now: string }>(`SELECT ${utcNow('postgresql')} AS now`);
    return parseSql(row!.now);
  }

  createHintSource(listener: HintListener): HintSource {
    return new ListenSource({
      url: this.#options.url,
      sql: this,
      listener,
      logger: this.#logger.child({ source: 'listen' }),
      onSilence: () => this.#renewPool(),
    });
  }

  /** @param label tells the holder apart in `holder()`; at most 36 characters are kept */
  createLeaderLock(name: string, label: string): LeaderLock {
    return new AdvisoryLock({ url: this.#options.url, sql: this, name, label });
  }

  protected query(text: string, params: readonly SqlValue[] | undefined): Promise<QueryResult> {
    return this.#ask(this.#running(), text, params);
  }

  #ask(
    connection: pg.Pool | pg.PoolClient,
    text: string,
    params: readonly SqlValue[] | undefined,
  ): Promise<QueryResult> {
    this.#statements += 1;
    return this.#watched(async () => {
      try {
        return await connection.query<SqlRow>(text, params ? [...params] : undefined);
      } catch (error) {
        if ((error as Error).message === QUERY_TIMEOUT && connection === this.#pool?.pool) this.#renewPool();
        throw error;
      }
    });
  }

  /** Translates errors, and remembers for `problem()` whether the server is there. */
  async #watched<T>(ask: () => Promise<T>): Promise<T> {
    try {
      const result = await ask();
      this.#problem = undefined;
      return result;
    } catch (cause) {
      const error = translateError(cause, `database ${this.#display}`);
      if (isUnavailable(error)) this.#problem = error.message;
      throw error;
    }
  }

  #running(): pg.Pool {
    if (!this.#pool) {
      throw new LightconeError('DATABASE_UNAVAILABLE', `database ${this.#display} is not started`);
    }
    return this.#pool.pool;
  }

  /**
   * A connection that does not answer is seldom alone (a firewall forgot them all). The next statements get new ones,
   * instead of waiting for one dead connection after the other; what is under way is left to its own deadline.
   */
  #renewPool(): void {
    if (!this.#pool) return;
    this.#retire(this.#pool);
    this.#pool = this.#createPool();
  }

  #retire({ pool, sockets }: WatchedPool): void {
    const ended = pool.end().then(() => {
      setTimeout(() => sockets.destroy(), GOODBYE_MS).unref();
    });
    this.#ended = Promise.all([this.#ended, ended]);
  }

  #createPool(): WatchedPool {
    const sockets = new Sockets();
    const pool = new pg.Pool({
      ...clientOptions(this.#options.url),
      stream: sockets.stream,
      onConnect: prepareSession,
      // One for a transaction, one for a read inside it.
      max: Math.max(2, this.#options.poolSize),
      idleTimeoutMillis: 30_000,
    });
    // An idle connection that the server closed; the pool has dropped it and the next statement opens another.
    pool.on('error', (error) => this.#logger.debug({ reason: error.message }, 'idle connection lost'));
    return { pool, sockets };
  }
}

class TransactionSql extends PostgresSql {
  constructor(
    private readonly ask: (text: string, params: readonly SqlValue[] | undefined) => Promise<QueryResult>,
  ) {
    super();
  }

  protected query(text: string, params: readonly SqlValue[] | undefined): Promise<QueryResult> {
    return this.ask(text, params);
  }
}
