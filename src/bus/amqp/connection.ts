import { type ChannelModel, connect, credentials, type SocketOptions } from 'amqplib';
import { Backoff } from '../../lib/backoff.js';
import { sleep } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';
import { explainBrokerError, maskUrl } from './broker-error.js';
import { ignoreDeepHeaders } from './deep-headers.js';
import { tlsOptions } from './tls.js';

/** Deadline of connect and set-up together, for a broker that accepts and then stays silent. */
const ATTEMPT_DEADLINE_MS = 5_000;
/** Time for the broker's answer to a close. */
const CLOSE_DEADLINE_MS = 2_000;
/** amqplib gives up a silent peer after two to three of these intervals; so does the broker. */
const HEARTBEAT_SECONDS = 2;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1_000;

export interface BrokerConnectionOptions {
  /** One or several URLs from `config/urls.ts`, which are tried in turn. */
  url: string;
  /** The name in the broker's list of connections. */
  name: string;
  logger: Logger;
  random: () => number;
  /** Runs after every connect, the first and the fiftieth. If it rejects, the connection is closed. */
  setUp: (connection: ChannelModel) => Promise<void>;
  /** Called after a successful set-up. */
  onUp: () => void;
  /** Called after `onUp`, when the connection is lost. */
  onDown: () => void;
}

/**
 * Keeps one connection to the broker: connect, set up, wait for its loss, back off, repeat. Every failure of a channel
 * or a confirm ends in `cut`, so there is only one way to recover.
 */
export class BrokerConnection {
  readonly #urls: readonly string[];
  #at = 0;
  #display: string;
  /** Whether the last attempt connected. If so, the same broker is tried first. */
  #wasUp = false;
  #running: Promise<void> | undefined;
  #stopping = new AbortController();
  #cut: ((reason: string) => void) | undefined;
  #connection: ChannelModel | undefined;
  #problem: string | undefined;
  /** Problems logged since the last connection. */
  readonly #reported = new Set<string>();
  #firstUp = deferred();

  constructor(private readonly options: BrokerConnectionOptions) {
    this.#urls = options.url.split(';');
    this.#display = maskUrl(this.#urls[0]!);
    this.#say('not started');
  }

  /** Resolves after the first connect and set-up. Rejects if aborted or stopped before. */
  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!this.#running) {
      this.#stopping = new AbortController();
      this.#firstUp = deferred();
      this.#say('connecting');
      this.#running = this.#run(this.#stopping.signal);
    }
    const onAbort = () => this.#firstUp.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#firstUp.promise;
    } catch (error) {
      await this.stop();
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#stopping.abort();
    this.#firstUp.reject(new Error('the bus was stopped before it was connected'));
    await this.#running;
    this.#running = undefined;
    this.#say('stopped');
  }

  /** Closes the current connection without waiting for the broker. The next one follows. */
  cut(reason: string): void {
    this.#cut?.(reason);
  }

  get up(): boolean {
    return this.#connection !== undefined;
  }

  /** One line about the current problem, or undefined. */
  get problem(): string | undefined {
    return this.#problem;
  }

  async #run(stopping: AbortSignal): Promise<void> {
    const backoff = new Backoff(FIRST_RETRY_MS, LONGEST_RETRY_MS, this.options.random);
    while (!stopping.aborted) {
      try {
        await this.#oneConnection(stopping, backoff);
      } catch (error) {
        if (!stopping.aborted) this.#report(explainBrokerError(error));
        if (!this.#wasUp) this.#at = (this.#at + 1) % this.#urls.length;
      }
      await sleep(backoff.next(), stopping).catch(() => {});
    }
  }

  /** Runs for the life of one connection. Rejects with the reason of its end; resolves when stopped. */
  async #oneConnection(stopping: AbortSignal, backoff: Backoff): Promise<void> {
    const { name, setUp, onUp, onDown } = this.options;
    const url = this.#urls[this.#at]!;
    this.#display = maskUrl(url);
    this.#wasUp = false;
    const socket = new AbortController();
    let reason: string | undefined;
    let closing: Error | undefined;
    const cut = (why: string) => {
      reason ??= why;
      socket.abort();
    };
    this.#cut = cut;
    let stopRequested!: (end: 'stopped') => void;
    const stopped = new Promise<'stopped'>((resolve) => {
      stopRequested = resolve;
    });
    const onStop = () => (this.#connection ? stopRequested('stopped') : cut('stopped'));
    stopping.addEventListener('abort', onStop, { once: true });
    const deadline = setTimeout(() => cut(`no answer within ${ATTEMPT_DEADLINE_MS} ms`), ATTEMPT_DEADLINE_MS);
    try {
      const connection = await connect(withHeartbeat(url), socketOptions(url, name, socket.signal));
      ignoreDeepHeaders(connection);
      const lost = new Promise<Error | undefined>((resolve) => connection.once('close', resolve));
      // 'close' follows and says the same; a set-up that is broken off by it does not.
      connection.on('error', (error: Error) => {
        closing = error;
      });
      await setUp(connection);
      clearTimeout(deadline);
      if (stopping.aborted) return await this.#close(connection, lost, cut);

      this.#connection = connection;
      this.#wasUp = true;
      this.#problem = undefined;
      this.#reported.clear();
      backoff.reset();
      this.options.logger.info({ broker: this.#display }, 'connected to the broker');
      onUp();
      this.#firstUp.resolve();
      const end = await Promise.race([lost, stopped]);
      this.#connection = undefined;
      onDown();
      if (end === 'stopped') return await this.#close(connection, lost, cut);
      throw end ?? new Error('the broker closed the connection');
    } catch (error) {
      throw reason === undefined ? (closing ?? error) : new Error(reason);
    } finally {
      clearTimeout(deadline);
      stopping.removeEventListener('abort', onStop);
      this.#connection = undefined;
      this.#cut = undefined;
      // amqplib only half-closes a lost connection, so a silent peer would keep the socket for minutes.
      socket.abort();
    }
  }

  async #close(
    connection: ChannelModel,
    lost: Promise<unknown>,
    cut: (reason: string) => void,
  ): Promise<void> {
    const deadline = setTimeout(() => cut('no goodbye'), CLOSE_DEADLINE_MS);
    // Rejects if the connection is already closed, which is fine.
    connection.close().catch(() => {});
    await lost;
    clearTimeout(deadline);
  }

  #say(problem: string): void {
    this.#problem = `broker ${this.#display}: ${problem}`;
  }

  /** Logs each kind of problem once, not once per attempt. */
  #report(problem: string): void {
    this.#say(problem);
    // The name of the queue differs in each attempt.
    const kind = this.#problem!.replace(/'[^']*'/g, "''");
    if (this.#reported.has(kind)) return;
    this.#reported.add(kind);
    this.options.logger.warn(
      { broker: this.#display, problem },
      'broker unreachable: retrying until it is back',
    );
  }
}

/** amqplib reads only ASCII letters from a URL. */
function accountIn(url: string): ReturnType<typeof credentials.plain> {
  const { username, password } = new URL(url);
  return credentials.plain(decodeURIComponent(username), decodeURIComponent(password));
}

/** amqplib's type has its own options and those of TLS, but not those of a plain socket. */
function socketOptions(
  url: string,
  name: string,
  signal: AbortSignal,
): SocketOptions & { signal: AbortSignal } {
  return {
    ...(tlsOptions(url) as SocketOptions),
    credentials: accountIn(url),
    noDelay: true,
    // On abort Node destroys the socket: before, during and after the handshake, even a half-open one.
    signal,
    clientProperties: { connection_name: name },
  };
}

/** Lightcone chooses the heartbeat, whatever the URL says. */
function withHeartbeat(url: string): string {
  const parts = new URL(url);
  parts.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS));
  return parts.href;
}

interface Deferred {
  promise: Promise<void>;
  resolve: () => void;
  reject: (reason: unknown) => void;
}

function deferred(): Deferred {
  let resolve!: () => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => {}); // nobody may be waiting
  return { promise, resolve, reject };
}
