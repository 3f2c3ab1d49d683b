import { type ChannelModel, connect, credentials, type SocketOptions } from 'amqplib';
import { Backoff } from '../../lib/backoff.js';
import { sleep } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';
import { explainBrokerError, maskUrl } from './broker-error.js';
import { tlsOptions } from './tls.js';

/** Connecting and setting up together. A broker that accepts and then says nothing must not hold us longer. */
const ATTEMPT_DEADLINE_MS = 5_000;
/** The broker's goodbye at a stop. */
const CLOSE_DEADLINE_MS = 2_000;
/** amqplib calls a silent peer dead after two to three of these; the broker does the same with us. */
const HEARTBEAT_SECONDS = 2;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1_000;

export interface BrokerConnectionOptions {
  /** As `config/urls.ts` makes it. Of several the next is tried when one cannot be had. */
  url: string;
  /** Shown in the broker's list of connections. */
  name: string;
  logger: Logger;
  random: () => number;
  /** Runs after every connect, the first and the fiftieth. When it rejects, the connection is thrown away. */
  setUp: (connection: ChannelModel) => Promise<void>;
  /** After a set-up that worked. */
  onUp: () => void;
  /** After `onUp`, when the connection is gone. */
  onDown: () => void;
}

/**
 * One connection to the broker at a time, for as long as it runs: connect, set up, wait until it is lost, wait a little,
 * again. Whatever goes wrong with a channel or a confirm ends in `cut`, so that there is one way back only.
 */
export class BrokerConnection {
  readonly #urls: readonly string[];
  #at = 0;
  #display: string;
  /** Whether the last attempt led to a connection: the same broker is tried first then. */
  #wasUp = false;
  #running: Promise<void> | undefined;
  #stopping = new AbortController();
  #cut: ((reason: string) => void) | undefined;
  #connection: ChannelModel | undefined;
  #problem: string | undefined;
  /** Since the last connection. */
  readonly #reported = new Set<string>();
  #firstUp = deferred();

  constructor(private readonly options: BrokerConnectionOptions) {
    this.#urls = options.url.split(';');
    this.#display = maskUrl(this.#urls[0]!);
    this.#say('not started');
  }

  /** Resolves when first connected and set up; rejects when aborted or stopped before. */
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

  /** Ends the present connection, without waiting for the broker; the next one follows. */
  cut(reason: string): void {
    this.#cut?.(reason);
  }

  get up(): boolean {
    return this.#connection !== undefined;
  }

  /** One line of what is wrong, or undefined. */
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

  /** Lives as long as one connection. Rejects with the reason of its end; resolves when it was stopped. */
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
      // amqplib only half-closes a lost connection; a peer that is silent would keep the socket for minutes.
      socket.abort();
    }
  }

  async #close(
    connection: ChannelModel,
    lost: Promise<unknown>,
    cut: (reason: string) => void,
  ): Promise<void> {
    const deadline = setTimeout(() => cut('no goodbye'), CLOSE_DEADLINE_MS);
    // Rejects when the connection is already gone, which is what we want.
    connection.close().catch(() => {});
    await lost;
    clearTimeout(deadline);
  }

  #say(problem: string): void {
    this.#problem = `broker ${this.#display}: ${problem}`;
  }

  /** Once per kind of trouble: a broker that stays away is one line, not one per attempt. */
  #report(problem: string): void {
    this.#say(problem);
    // Each attempt has a queue of another name.
    const kind = this.#problem!.replace(/'[^']*'/g, "''");
    if (this.#reported.has(kind)) return;
    this.#reported.add(kind);
    this.options.logger.warn(
      { broker: this.#display, problem },
      'broker unreachable: retrying until it is back',
    );
  }
}

/** amqplib reads only ASCII letters out of a URL. */
function accountIn(url: string): ReturnType<typeof credentials.plain> {
  const { username, password } = new URL(url);
  return credentials.plain(decodeURIComponent(username), decodeURIComponent(password));
}

/** The type knows amqplib's options and TLS's, but not those of a plain socket. */
function socketOptions(
  url: string,
  name: string,
  signal: AbortSignal,
): SocketOptions & { signal: AbortSignal } {
  return {
    ...(tlsOptions(url) as SocketOptions),
    credentials: accountIn(url),
    noDelay: true,
    // Node destroys the socket when it is aborted: before, during and after the handshake, half-open or not.
    signal,
    clientProperties: { connection_name: name },
  };
}

/** The heartbeat is ours to choose, whatever the setting's URL says. */
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
