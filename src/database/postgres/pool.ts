import pg from 'pg';
import { LightconeError } from '../../core/errors.js';
import type { Logger } from '../../telemetry/logger.js';
import { cancelStatement } from './cancel.js';
import { isSessionUsable, reasonOf } from './errors.js';
import { clientOptions, maskUrl, prepareSession, SERVER_LIMITS, Sockets } from './options.js';
import { checkKind, type Servers, takesNoWrites } from './servers.js';
import type { QueryResult } from './sql.js';

/** The driver's words for a missed `query_timeout`, and for a pool in which no place became free. */
const QUERY_TIMEOUT = 'Query read timeout';
const NO_PLACE = 'timeout exceeded when trying to connect';
/** PgBouncer refuses a connection that asks for a setting which it does not know (`ignore_startup_parameters`). */
const SETTING_REFUSED = /startup parameter|statement_timeout|lock_timeout|idle_in_transaction/i;
/** After a goodbye to a server that may not answer. */
const GOODBYE_MS = 1_000;

export interface PoolOptions {
  servers: Servers;
  /** The URL as a log may show it. */
  display: string;
  size: number;
  /** As the server shows it. */
  applicationName: string;
  logger: Logger;
}

interface Generation {
  url: string;
  pool: pg.Pool;
  sockets: Sockets;
  limited: boolean;
}

/**
 * Some connections to one server. The server ends a statement before the driver gives it up, so that nothing stays there;
 * where a pooler keeps it from being told so, and where the answer does not come through, the statement is cancelled.
 */
export class ConnectionPool {
  readonly #options: PoolOptions;
  #current: Generation | undefined;
  #retiring = 0;
  #ended: Promise<unknown> = Promise.resolve();
  #sendLimits = true;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** @throws LightconeError DATABASE_UNAVAILABLE: whatever the reason is why there is no connection */
  async connect(): Promise<pg.PoolClient> {
    const { servers, display } = this.#options;
    const reasons: string[] = [];
    for (;;) {
      const generation = this.#generation();
      try {
        const client = await generation.pool.connect();
        // The pool listens to idle clients only: without a listener a server that goes away now would end the process.
        client.on('error', ignore);
        return client;
      } catch (error) {
        if (generation.limited && SETTING_REFUSED.test((error as Error).message)) {
          this.#dropLimits(error as Error);
          continue;
        }
        reasons.push(this.#reasonOf(error as Error, generation.url));
        if (this.#tryNext(generation, error as Error) && reasons.length < servers.count) continue;
        throw new LightconeError(
          'DATABASE_UNAVAILABLE',
          `database ${display} cannot be used: ${reasons.join('; ')}`,
          { cause: error },
        );
      }
    }
  }

  #tryNext(failed: Generation, error: Error): boolean {
    // Who waited for a place in a pool that is given up meanwhile.
    if (failed !== this.#current) return true;
    if (error.message === NO_PLACE || !this.#options.servers.leave(failed.url, error)) return false;
    this.#retireCurrent();
    return true;
  }

  #reasonOf(error: Error, url: string): string {
    const { size, applicationName, servers } = this.#options;
    if (error.message === NO_PLACE) {
      return `all ${size} connections of "${applicationName}" are busy (a slow database, or too small a database_engine_option_pool_size)`;
    }
    return servers.count === 1
      ? reasonOf(error)
      : `${decodeURIComponent(new URL(url).host)}: ${reasonOf(error)}`;
  }

  /** The present one, unless it leads to a server that was left. */
  #generation(): Generation {
    if (this.#current && this.#options.servers.hasLeft(this.#current.url)) this.#retireCurrent();
    this.#current ??= this.#open();
    return this.#current;
  }

  /** @param failure what happened on it, if anything: the connection is kept only where the server still listens on it */
  release(client: pg.PoolClient, failure?: unknown): void {
    client.off('error', ignore);
    client.release(failure !== undefined && !isSessionUsable(failure));
  }

  /** Throws what the driver throws. */
  async ask(
    client: pg.PoolClient,
    text: string,
    params: readonly unknown[] | undefined,
  ): Promise<QueryResult> {
    const current = this.#current;
    try {
      return await client.query(text, params ? [...params] : undefined);
    } catch (error) {
      if ((error as Error).message === QUERY_TIMEOUT) {
        if (current === this.#current) this.renew();
        await cancelStatement(client);
      }
      if (takesNoWrites(error) && current && current === this.#current) {
        this.#options.servers.leave(current.url, error);
        this.renew();
      }
      throw error;
    }
  }

  /**
   * A connection that does not answer is seldom alone (a firewall forgot them all). The next statements get new ones,
   * instead of waiting for one dead connection after the other; what is under way is left to its own deadline, and until
   * then nothing is renewed again: two pools are the most that a server ever holds of us.
   */
  renew(): void {
    if (this.#retiring === 0) this.#retireCurrent();
  }

  /** The same, where silence was noticed elsewhere. Those who wait for a place say that the pool is busy, not dead. */
  suspect(): void {
    if (this.#current?.pool.waitingCount === 0) this.renew();
  }

  async end(): Promise<void> {
    this.#retireCurrent();
    await this.#ended;
  }

  #dropLimits({ message }: Error): void {
    if (this.#sendLimits) {
      this.#options.logger.warn(
        { reason: message },
        'the pooler in front of the database refuses time limits (add them to ignore_startup_parameters, or set statement_timeout and lock_timeout for the role): what takes too long is cancelled instead',
      );
    }
    this.#sendLimits = false;
    if (this.#current?.limited) this.#retireCurrent();
  }

  #open(): Generation {
    const { servers, size, applicationName, logger } = this.#options;
    const { url } = servers;
    const sockets = new Sockets(url);
    const pool = new pg.Pool({
      ...clientOptions(url, applicationName),
      ...(this.#sendLimits && SERVER_LIMITS),
      stream: sockets.stream,
      onConnect: async (client) => {
        await prepareSession(client);
        await checkKind(client, url);
        if (servers.reached(url)) {
          logger.warn(
            { database: maskUrl(url) },
            'database connections moved to another server of database_connection',
          );
        }
      },
      max: size,
      // Longer than anything here waits that is done every 30 s: a new connection for each costs more than an idle one.
      idleTimeoutMillis: 45_000,
    });
    // An idle connection that the server closed; the pool has dropped it and the next statement opens another.
    pool.on('error', (error) => logger.debug({ reason: error.message }, 'idle connection lost'));
    return { url, pool, sockets, limited: this.#sendLimits };
  }

  #retireCurrent(): void {
    if (!this.#current) return;
    const { pool, sockets } = this.#current;
    this.#current = undefined;
    this.#retiring += 1;
    const ended = pool.end().then(() => {
      this.#retiring -= 1;
      setTimeout(() => sockets.destroy(), GOODBYE_MS).unref();
    });
    this.#ended = Promise.all([this.#ended, ended]);
  }
}

const ignore = (): void => {};
