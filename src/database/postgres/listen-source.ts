import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { LightconeError } from '../../core/errors.js';
import { Backoff } from '../../lib/backoff.js';
import type { Clock } from '../../lib/clock.js';
import { sleep, withDeadline } from '../../lib/lifecycle.js';
import { type Micros, parseSql } from '../../lib/time.js';
import type { Logger } from '../../telemetry/logger.js';
import { OUTBOX_CHANNEL, utcNow } from '../dialect.js';
import { TRIGGER_LOCK } from '../migrations/0006-quiet-triggers.js';
import type { HintListener, HintSource, Sql } from '../port.js';
import { reasonOf } from './errors.js';
import { CONNECT_TIMEOUT_MS, clientOptions, Sockets } from './options.js';
import { QuietTriggers, type TriggerLock } from './quiet-triggers.js';
import type { Servers } from './servers.js';

const HISTORY_CHANNEL = 'galaxy_history_update';
/**
 * A barrier that takes longer means a dead connection. The caller asks every two seconds, so it is detected within 5 s.
 */
const BARRIER_TIMEOUT_MS = 2_500;
/** Commits with NOTIFY wait for one lock of the whole server. */
const COMMITS_WAITING = `SELECT count(*) FROM pg_locks
  WHERE locktype = 'object' AND database = 0 AND classid = 'pg_database'::regclass AND objid = 0 AND NOT granted`;

interface ListenOptions {
  servers: Servers;
  sql: Sql;
  listener: HintListener;
  /** The lock of the leading process; without it the triggers are never silenced. */
  lock?: TriggerLock | undefined;
  clock: Clock;
  logger: Logger;
  /** A barrier was not answered: other connections to this server may be dead, too. */
  onSilence?: () => void;
}

interface Session {
  client: pg.Client;
  destroy(): void;
  /** Resolves with the reason when this session ends. */
  lost: Promise<string>;
  lose(reason: string): void;
}

/** The session is silent while nothing is written, so limits on idle sessions must not apply. From PostgreSQL 14 on. */
const STAY = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'";

/** LISTEN was accepted, and the source's own NOTIFY did not arrive. */
export class SilentListen extends LightconeError {
  constructor() {
    super('DATABASE_UNAVAILABLE', `the LISTEN connection has been silent for ${BARRIER_TIMEOUT_MS / 1000} s`);
  }
}

/**
 * The LISTEN session. A session that is lost, or does not answer its own NOTIFY, is replaced together with its socket.
 */
export class ListenSource implements HintSource {
  readonly name = 'listen';
  readonly #options: ListenOptions;
  /** Private to this instance: only its own NOTIFY may answer a barrier. */
  readonly #barrierChannel = `lightcone_barrier_${randomBytes(8).toString('hex')}`;
  readonly #barriers = new Map<string, { came(): void; lost(reason: string): void }>();
  #pending = new Set<number>();
  #flushScheduled = false;
  #session: Session | undefined;
  readonly #triggers: QuietTriggers;
  #running: { stop: AbortController; loop: Promise<void>; ready: Promise<void> } | undefined;
  #barrierCount = 0;
  #connects = 0;
  /** Payloads that were not history ids, since the start. */
  ignoredPayloads = 0;

  constructor(options: ListenOptions) {
    this.#options = options;
    const { sql, lock, listener, clock, logger } = options;
    this.#triggers = new QuietTriggers({ sql, lock, look: (cause) => listener.onGap(cause), clock, logger });
  }

  start(signal?: AbortSignal): Promise<void> {
    if (!this.#running) {
      const stop = new AbortController();
      const aborted = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
      let onReady!: () => void;
      const first = new Promise<void>((resolve) => {
        onReady = resolve;
      });
      const loop = this.#supervise(stop.signal, onReady);
      // The first read finds what commits before LISTEN, whether the triggers were silent or not.
      void first.then(() => this.#triggers.run(stop.signal));
      const ready = Promise.race([first, rejectWhen(aborted)]).catch(async (error) => {
        await this.stop();
        throw error;
      });
      this.#running = { stop, loop, ready };
    }
    return this.#running.ready;
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (!running) return;
    running.stop.abort(new Error('the hint source is being stopped'));
    running.ready.catch(() => {});
    await running.loop;
    this.#running = undefined;
  }

  async barrier(): Promise<Micros> {
    const session = this.#session;
    if (!session) throw unavailable('the LISTEN connection is down');
    const token = String(++this.#barrierCount);
    const cameBack = new Promise<void>((came, fail) => {
      const lost = (reason: string) => fail(unavailable(`the LISTEN connection was lost: ${reason}`));
      this.#barriers.set(token, { came, lost });
    });
    // The session may be lost while the question is on its way, before anything awaits the answer.
    cameBack.catch(() => {});
    try {
      return await withDeadline(this.#ask(token, cameBack), BARRIER_TIMEOUT_MS, () => {
        session.lose('no answer to a NOTIFY to itself');
        this.#options.onSilence?.();
        return new SilentListen();
      });
    } finally {
      this.#barriers.delete(token);
    }
  }

  /**
   * Clock and NOTIFY in one statement, so that the clock is read before the NOTIFY commits. It goes through the pool,
   * because the order of notifications is the order of commits, whoever sends them. The lock reveals whether triggers
   * NOTIFY at all.
   */
  async #ask(token: string, cameBack: Promise<void>): Promise<Micros> {
    const [row] = await this.#options.sql.all<{ now: string; loud: boolean; waiting: number }>(
      `SELECT ${utcNow('postgresql')} AS now, pg_notify($1, $2), pg_try_advisory_xact_lock_shared(${TRIGGER_LOCK}) AS loud,
              (${COMMITS_WAITING}) AS waiting`,
      [this.#barrierChannel, token],
    );
    await cameBack;
    this.#triggers.found(row!.loud, row!.waiting);
    if (this.#triggers.state !== 'listening') this.#options.listener.onGap('poll');
    return parseSql(row!.now);
  }

  onRead(auditRows: number): void {
    this.#triggers.read(auditRows);
  }

  async #supervise(stopped: AbortSignal, onReady: () => void): Promise<void> {
    const { logger, listener } = this.#options;
    const backoff = new Backoff(50, 1_000);
    let isLogged = false;
    while (!stopped.aborted) {
      const session = this.#createSession();
      const onStop = () => session.lose('stopped');
      stopped.addEventListener('abort', onStop, { once: true });
      try {
        await this.#connect(session);
        backoff.reset();
        isLogged = false;
        this.#session = session;
        this.#connects += 1;
        logger.info({ channel: HISTORY_CHANNEL }, 'listening for changes');
        onReady();
        if (this.#connects > 1) listener.onGap('listen_reconnected');
        const reason = await session.lost;
        // Called here, not by a `then` of each barrier on `lost`: a session lives for months and would keep them all.
        for (const barrier of this.#barriers.values()) barrier.lost(reason);
        throw new Error(reason);
      } catch (error) {
        if (!stopped.aborted && !isLogged) {
          isLogged = true;
          logger.warn({ reason: reasonOf(error) }, 'LISTEN connection lost: reconnecting');
        }
      } finally {
        this.#session = undefined;
        stopped.removeEventListener('abort', onStop);
        session.destroy();
      }
      await sleep(backoff.next(), stopped).catch(() => {});
    }
  }

  async #connect(session: Session): Promise<void> {
    const setUp = async () => {
      await session.client.connect();
      const channels = [this.#barrierChannel, HISTORY_CHANNEL, OUTBOX_CHANNEL];
      await session.client.query([STAY, ...channels.map((channel) => `LISTEN ${channel}`)].join('; '));
    };
    const lost = session.lost.then((reason) => {
      throw new Error(reason);
    });
    await withDeadline(
      Promise.race([setUp(), lost]),
      CONNECT_TIMEOUT_MS,
      () => new Error('no answer in time'),
    );
  }

  #createSession(): Session {
    const { url } = this.#options.servers;
    const sockets = new Sockets(url);
    const client = new pg.Client({ ...clientOptions(url, 'lightcone listen'), stream: sockets.stream });
    let lose!: (reason: string) => void;
    const lost = new Promise<string>((resolve) => {
      lose = resolve;
    });
    client.on('error', (error) => lose(error.message));
    client.on('end', () => lose('the server ended it'));
    client.on('notification', ({ channel, payload = '' }) => {
      if (channel === HISTORY_CHANNEL) this.#onHint(payload);
      else if (channel === OUTBOX_CHANNEL) this.#options.listener.onCommit?.();
      else this.#onBarrier(payload);
    });
    const destroy = () => {
      client.end().catch(() => {});
      sockets.destroy();
    };
    return { client, destroy, lost, lose };
  }

  #onHint(payload: string): void {
    const id = /^[1-9]\d{0,9}$/.test(payload) ? Number(payload) : undefined;
    if (id === undefined) {
      this.ignoredPayloads += 1;
      return;
    }
    this.#triggers.heard();
    if (this.#triggers.state === 'polling') return;
    this.#pending.add(id);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    // One read from the socket may contain many notifications, which are handed over together.
    setImmediate(() => this.#flush());
  }

  #onBarrier(token: string): void {
    // Earlier notifications, perhaps from the same read of the socket, are handed over before the barrier resolves.
    this.#flush();
    this.#barriers.get(token)?.came();
  }

  #flush(): void {
    this.#flushScheduled = false;
    if (this.#pending.size === 0) return;
    const ids = [...this.#pending];
    this.#pending = new Set();
    this.#options.listener.onHistories(ids);
  }
}

const unavailable = (message: string) => new LightconeError('DATABASE_UNAVAILABLE', message);

function rejectWhen(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
