import type { PoolClient } from 'pg';
import { LightconeError } from '../../core/errors.js';
import { Backoff } from '../../lib/backoff.js';
import type { Clock } from '../../lib/clock.js';
import { sleep } from '../../lib/lifecycle.js';
import { type Micros, parseSql } from '../../lib/time.js';
import type { Logger } from '../../telemetry/logger.js';
import { utcNow } from '../dialect.js';
import { systemIdentifier } from '../log/identity.js';
import type { Database, HintListener, HintSource, LeaderLock, Sql, SqlValue } from '../port.js';
import { AdvisoryLock } from './advisory-lock.js';
import { isDown, reasonOf, translateError } from './errors.js';
import { ListenSource } from './listen-source.js';
import { maskUrl } from './options.js';
import { Outage } from './outage.js';
import { ConnectionPool } from './pool.js';
import type { TriggerLock } from './quiet-triggers.js';
import { Servers } from './servers.js';
import { PostgresSql, type QueryResult } from './sql.js';

/** One connection for a transaction, one for a read inside it. */
const SMALLEST_POOL = 2;
/** Log interval of a start that waits for the server. */
const LOG_EVERY_MS = 5_000;

export interface PostgresOptions {
  /** libpq-style; `;` separates several. It contains the password: never log it. */
  url: string;
  poolSize: number;
  logger: Logger;
  clock: Clock;
}

/** Shared by all lanes of a database. */
class Common {
  readonly servers: Servers;
  running = false;
  readonly outage: Outage;
  statements = 0;
  readonly pools = new Set<ConnectionPool>();
  /** Only the holder of this lock may silence the triggers. */
  leaderLock: TriggerLock | undefined;

  constructor({ url, logger, clock }: PostgresOptions) {
    this.servers = new Servers(url);
    this.outage = new Outage(maskUrl(url), logger, clock);
  }
}

export class PostgresDatabase extends PostgresSql implements Database {
  readonly #options: PostgresOptions;
  readonly #display: string;
  readonly #logger: Logger;
  readonly #common: Common;
  readonly #pool: ConnectionPool;
  #starting: Promise<void> | undefined;
  #aborted = new AbortController();

  constructor(options: PostgresOptions, common = new Common(options), applicationName = 'lightcone') {
    super();
    this.#options = options;
    this.#display = maskUrl(options.url);
    this.#logger = options.logger;
    this.#common = common;
    this.#pool = new ConnectionPool({
      servers: common.servers,
      display: this.#display,
      size: Math.max(SMALLEST_POOL, options.poolSize),
      applicationName,
      logger: options.logger,
    });
    common.pools.add(this.#pool);
  }

  get statements(): number {
    return this.#common.statements;
  }

  problem(): string | undefined {
    return this.#common.outage.problem;
  }

  /** Started and stopped with the database itself. */
  lane(name: string, connections: number): this {
    const options = { ...this.#options, poolSize: connections };
    return new PostgresDatabase(options, this.#common, `lightcone ${name}`) as this;
  }

  /** Waits until the server answers, without a limit. Rejects only if `signal` aborts or `stop` is called. */
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
    this.#common.running = true;
    const backoff = new Backoff(50, 1_000);
    let loggedAt = Number.NEGATIVE_INFINITY;
    for (;;) {
      try {
        await this.all('SELECT 1');
        this.#common.outage.started = true;
        this.#logger.info({ database: maskUrl(this.#common.servers.url) }, 'database connected');
        return;
      } catch (error) {
        aborted.throwIfAborted();
        if (this.#options.clock.monotonic() - loggedAt >= LOG_EVERY_MS) {
          loggedAt = this.#options.clock.monotonic();
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
    this.#common.running = false;
    this.#starting = undefined;
    this.#common.outage.started = false;
    this.#common.outage.problem = 'the database has been stopped';
    await Promise.all([...this.#common.pools].map((pool) => pool.end()));
  }

  async transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    const tx = new TransactionSql((text, params) => this.#ask(client, text, params));
    let failure: unknown;
    try {
      await tx.run('BEGIN ISOLATION LEVEL READ COMMITTED');
      const result = await work(tx);
      await this.#commit(client);
      return result;
    } catch (error) {
      failure = await this.#rollBack(client, error);
      throw error;
    } finally {
      this.#pool.release(client, failure);
    }
  }

  /** If a statement failed and `work` continued nevertheless, the server rolls back and reports success. */
  async #commit(client: PoolClient): Promise<void> {
    const { command } = await this.#ask(client, 'COMMIT', undefined);
    if (command === 'COMMIT') return;
    throw new LightconeError(
      'INTERNAL',
      'a transaction was rolled back at its end: a statement in it had failed',
    );
  }

  /** @returns why the connection cannot be reused, if so */
  async #rollBack(client: PoolClient, error: unknown): Promise<unknown> {
    if (isDown(error)) return error;
    return this.#ask(client, 'ROLLBACK', undefined).then(
      () => undefined,
      (failure: Error) => failure,
    );
  }

  async identity(): Promise<string> {
    const server = await systemIdentifier(this);
    const [database] = await this.all<{ name: string; oid: string }>(
      'SELECT datname AS name, oid::text FROM pg_database WHERE datname = current_database()',
    );
    return `postgresql:${server || database!.name}/${database!.oid}`;
  }

  async now(): Promise<Micros> {
    const [row] = await this.all<{ now: string }>(`SELECT ${utcNow('postgresql')} AS now`);
    return parseSql(row!.now);
  }

  createHintSource(listener: HintListener): HintSource {
    return new ListenSource({
      servers: this.#common.servers,
      sql: this,
      listener,
      lock: this.#common.leaderLock,
      clock: this.#options.clock,
      logger: this.#logger.child({ source: 'listen' }),
      onSilence: () => {
        for (const pool of this.#common.pools) pool.suspect();
      },
    });
  }

  /** @param label names the holder in `holder()`; 48 characters are kept */
  createLeaderLock(name: string, label: string, silenceMs?: number): LeaderLock {
    return new AdvisoryLock({
      servers: this.#common.servers,
      sql: this,
      name,
      label,
      ...(silenceMs !== undefined && { silenceMs }),
      onAcquired: (lock) => {
        this.#common.leaderLock = lock;
      },
    });
  }

  protected async query(text: string, params: readonly SqlValue[] | undefined): Promise<QueryResult> {
    const client = await this.#connect();
    let failure: unknown;
    try {
      return await this.#ask(client, text, params);
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      this.#pool.release(client, failure);
    }
  }

  async #connect(): Promise<PoolClient> {
    if (!this.#common.running)
      throw new LightconeError('DATABASE_UNAVAILABLE', `database ${this.#display} is not started`);
    try {
      return await this.#pool.connect();
    } catch (error) {
      this.#common.outage.found((error as Error).message);
      throw error;
    }
  }

  /** Translates errors, and records for `problem()` whether the server answers. */
  async #ask(
    client: PoolClient,
    text: string,
    params: readonly SqlValue[] | undefined,
  ): Promise<QueryResult> {
    const common = this.#common;
    common.statements += 1;
    try {
      const result = await this.#pool.ask(client, text, params);
      common.outage.found(undefined);
      return result;
    } catch (cause) {
      const error = translateError(cause, `database ${this.#display}`);
      if (isDown(error)) common.outage.found(error.message);
      throw error;
    }
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
