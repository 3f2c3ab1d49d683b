/**
 * Keeps the triggers from NOTIFY while there is so much to hear that the log is polled anyway: a NOTIFY makes commits wait
 * for each other.
 *
 * ```
 *   draining ──nobody open who may have been silent──► listening ──many hints──► polling ──few changes──► draining
 * ```
 * A trigger sends NOTIFY if it gets a lock shared that the leader, while it polls, holds or waits for. Whoever did not get it
 * had its transaction number before; so once the lock is given back, a number that is taken then and has ended, the fence,
 * is above all of theirs: when a snapshot holds none below the fence as open, a read that begins now sees all of them.
 */
import type { Clock } from '../../lib/clock.js';
import { sleep } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';
import { TRIGGER_LOCK } from '../migrations/0006-quiet-triggers.js';
import { hasQuietTriggers } from '../poll-source.js';
import type { Sql } from '../port.js';

/**
 * With this many hints in 200 ms, polling is cheaper; fewer suffice if commits wait for each other. Below this many
 * audit rows in a second, hints are better again: a hint is read sooner than a poll.
 */
const BUSY = { hints: 100, calmRows: 250 };
const CONTENDED: typeof BUSY = { hints: 20, calmRows: 50 };
const BUSY_MS = 200;
const CALM_MS = 1_000;
/** The reader waits longer if there is more. */
const POLL_MS = 20;
/** Timeout for a read that does not come: the bus or the database is unavailable. */
const NO_READ_MS = 1_000;
/** The longer a transaction stays open, the less it matters how soon its end is noticed. */
const DRAIN_MS = { first: 20, last: 250 };
const RETRY_MS = 500;

/**
 * The holder of the leader's lock also holds the triggers' lock. Both are lost together, so no other process can have
 * either.
 */
export interface TriggerLock {
  /** Resolves to false while a transaction that will NOTIFY is open, or if the leader's lock is lost. */
  silenceTriggers(): Promise<boolean>;
  /** Resolves to true once the lock is released; to false if it was lost. */
  unsilenceTriggers(): Promise<boolean>;
}

export interface QuietTriggersOptions {
  sql: Sql;
  lock: TriggerLock | undefined;
  /** A read is due. */
  look: (cause: 'poll' | 'drain') => void;
  clock: Clock;
  logger: Logger;
}

export class QuietTriggers {
  state: 'draining' | 'listening' | 'polling' = 'draining';
  private readonly hints: number[] = [];
  private wake: () => void = () => {};
  private limits = BUSY;
  private rows = 0;

  constructor(private readonly options: QuietTriggersOptions) {}

  /** A hint arrived. It adds nothing while the log is polled. */
  heard(): void {
    if (this.state === 'polling') return;
    this.hints.push(this.options.clock.monotonic());
    if (this.hints.length > BUSY.hints) this.hints.shift();
    if (this.busy()) this.wake();
  }

  /** The log was read, with this many new audit rows. */
  read(rows: number): void {
    this.rows += rows;
    if (this.state === 'polling') this.wake();
  }

  /**
   * The result of a barrier.
   * @param loud false if another holder has the triggers' lock: writers are then silent, but nobody polls
   * @param waiting sessions that wait to commit because others send NOTIFY
   */
  found(loud: boolean, waiting: number): void {
    this.limits = waiting > 0 ? CONTENDED : BUSY;
    if (this.state !== 'listening' || (loud && !this.busy())) return;
    if (!loud) this.state = 'draining';
    this.wake();
  }

  async run(over: AbortSignal): Promise<void> {
    const { lock, logger, look } = this.options;
    let holding = true;
    let known = false;
    while (!over.aborted && holding) {
      try {
        if (!known && !(await hasQuietTriggers(this.options.sql))) {
          this.state = 'listening';
          return;
        }
        known = true;
        await this.drain(over);
        while (this.state === 'listening' && !this.busy() && !over.aborted) await this.until(over);
        if (lock && this.busy()) holding = await this.poll(lock, over);
      } catch (error) {
        if (over.aborted) return;
        logger.debug({ err: error }, 'it is unknown whether the triggers are silent: the log is read anyway');
        look('drain');
        await this.until(over, RETRY_MS);
      }
      this.state = 'draining';
    }
    // The leader's lock is lost together with that of the triggers: until this term ends, hints are unreliable.
    for (; !over.aborted; await this.until(over, RETRY_MS)) look('drain');
  }

  /** Hints and each end of a possibly silent transaction wake it. */
  private async drain(over: AbortSignal): Promise<void> {
    const { clock, look } = this.options;
    this.state = 'draining';
    look('drain');
    const fence = await this.fence(over);
    const begun = clock.monotonic();
    let before: string | null | undefined;
    while (!over.aborted && !this.busy()) {
      const open = await this.openBelow(fence);
      if (open === null) this.state = 'listening';
      if (open !== before) look('drain');
      if (open === null) return;
      before = open;
      await this.until(
        over,
        Math.min(Math.max((clock.monotonic() - begun) / 10, DRAIN_MS.first), DRAIN_MS.last),
      );
    }
  }

  /** A number issued after the triggers' lock was free, of a transaction that has ended. */
  private async fence(over: AbortSignal): Promise<string> {
    const { sql, look, logger } = this.options;
    for (let isLogged = false; !over.aborted; isLogged = true) {
      const [free] = await sql.all<{ loud: boolean }>(
        `SELECT pg_try_advisory_xact_lock_shared(${TRIGGER_LOCK}) AS loud`,
      );
      if (free!.loud) break;
      if (!isLogged) {
        logger.warn(
          { lock: TRIGGER_LOCK },
          'another program holds the advisory lock that silences the triggers: the log is polled until it releases the lock',
        );
      }
      look('drain');
      await this.until(over, DRAIN_MS.last);
    }
    const [row] = await sql.all<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
    return row!.xid;
  }

  /** The open transactions below the fence, including prepared ones; null if there is none. */
  private async openBelow(fence: string): Promise<string | null> {
    const [row] = await this.options.sql.all<{ open: string | null }>(
      `SELECT string_agg(x::text, ',') AS open FROM pg_snapshot_xip(pg_current_snapshot()) x WHERE x < $1::xid8`,
      [fence],
    );
    return row!.open;
  }

  private busy(): boolean {
    if (!this.options.lock) return false;
    const first = this.hints.at(-this.limits.hints);
    return first !== undefined && this.options.clock.monotonic() - first <= BUSY_MS;
  }

  /**
   * Polls first, then silences, because writers are silent as soon as the leader waits for the lock.
   * @returns false if the lock was lost
   */
  private async poll(lock: TriggerLock, over: AbortSignal): Promise<boolean> {
    const { clock, look } = this.options;
    this.state = 'polling';
    this.hints.length = 0;
    const { calmRows } = this.limits;
    let silent = false;
    let asking: Promise<void> | undefined;
    // Waiting for the lock already silences the triggers.
    for (let calm = false; (!calm || asking) && !over.aborted; ) {
      const begun = clock.monotonic();
      this.rows = 0;
      while (clock.monotonic() - begun < CALM_MS && !over.aborted && !(calm && !asking)) {
        look('poll');
        if (!silent && !asking && !calm) {
          asking = lock.silenceTriggers().then((done) => {
            silent = done;
            asking = undefined;
          });
        }
        await this.until(over, NO_READ_MS);
        await sleep(POLL_MS, over).catch(() => {});
      }
      calm ||= this.rows < calmRows;
    }
    await asking;
    this.state = 'draining';
    return lock.unsilenceTriggers();
  }

  /** Waits for an event, or for this time. */
  private until(over: AbortSignal, ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(() => this.wake(), ms);
      this.wake = () => {
        this.wake = () => {};
        clearTimeout(timer);
        over.removeEventListener('abort', this.wake);
        resolve();
      };
      over.addEventListener('abort', this.wake, { once: true });
      if (over.aborted) this.wake();
    });
  }
}
