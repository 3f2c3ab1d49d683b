import pg from 'pg';
import { LightconeError } from '../../core/errors.js';
import type { Logger } from '../../telemetry/logger.js';
import { cancelStatement } from './cancel.js';
import { isSessionUsable, reasonOf } from './errors.js';
import { clientOptions, maskUrl, prepareSession, SERVER_LIMITS, Sockets } from './options.js';
import { checkKind, type Servers, takesNoWrites } from './servers.js';
import type { QueryResult } from './sql.js';

/** The driver's messages for a missed `query_timeout`, and for an exhausted pool. */
const QUERY_TIMEOUT = 'Query read timeout';
const NO_PLACE = 'timeout exceeded when trying to connect';
/** PgBouncer refuses a connection with an unknown setting (`ignore_startup_parameters`). */
const SETTING_REFUSED = /startup parameter|statement_timeout|lock_timeout|idle_in_transaction/i;
/** Deadline of closing a connection to a server that may not answer. */
const GOODBYE_MS = 1_000;

export interface PoolOptions {
  servers: Servers;
  /** The URL for logs. */
  display: string;
  size: number;
  /** The name that the server shows. */
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
 * Connections to one server. The server ends a statement before the driver gives it up, so that nothing stays there. If
 * a pooler hides the limits, or the answer does not arrive, the statement is cancelled.
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

  /** @throws LightconeError DATABASE_UNAVAILABLE if there is no connection, whatever the reason */
  async connect(): Promise<pg.PoolClient> {
    const { servers, display } = this.#options;
    const reasons: string[] = [];
    for (;;) {
      const generation = this.#generation();
      try {
        const client = await generation.pool.connect();
        // The pool listens only to idle clients: without a listener, a lost server would end the process.
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
          `database ${display} is unavailable: ${reasons.join('; ')}`,
          { cause: error },
        );
      }
    }
  }

  #tryNext(failed: Generation, error: Error): boolean {
    // Waited for a slot in a pool that was replaced meanwhile.
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

  /** The current one, unless it belongs to a server that was left. */
  #generation(): Generation {
    if (this.#current && this.#options.servers.hasLeft(this.#current.url)) this.#retireCurrent();
    this.#current ??= this.#open();
    return this.#current;
  }

  /**
   * @param failure the error on it, if any; the connection is kept only if the server still accepts statements on it
   */
  release(client: pg.PoolClient, failure?: unknown): void {
    client.off('error', ignore);
    client.release(failure !== undefined && !isSessionUsable(failure));
  }

  /** Throws the driver's errors. */
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
   * A connection that does not answer is seldom alone (a firewall may have dropped them all). New statements get new
   * connections, instead of trying one dead connection after the other. Running ones keep their own deadline, and until
   * then nothing is renewed again, so a server has at most two pools of ours.
   */
  renew(): void {
    if (this.#retiring === 0) this.#retireCurrent();
  }

  /** The same, if silence was detected elsewhere. Callers that wait for a slot report a busy pool, not a dead one. */
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
        'the pooler in front of the database refuses time limits (add them to ignore_startup_parameters, or set statement_timeout and lock_timeout for the role): slow statements are cancelled instead',
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
      // Longer than the interval of everything that runs every 30 s: reconnecting each time would cost more than an
      // idle connection.
      idleTimeoutMillis: 45_000,
    });
    // The server closed an idle connection. The pool has dropped it, and the next statement opens another.
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
