import { createHash } from 'node:crypto';
import { Backoff } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import type { Lifecycle } from '../core/lifecycle.js';
import type { Micros } from '../core/time.js';
import type { LeaderLock, WorkerProcesses, WorkerProcessRow } from '../database/port.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type AppType, betterThan, isSame } from './rank.js';

/** Contract: a row counts for this long after its last heartbeat. */
const ACTIVE_MS = 61_000;
/** A holder of the lock that missed this many heartbeats is frozen or cut off, and is evicted. */
const MISSED_HEARTBEATS = 4;
/** Between two candidates for a lock that is found free, so that the better one takes it without a race. */
const STAGGER_MS = 200;
const MAX_STAGGER_MS = 1_500;
const LOCK_CHECK_MS = 5_000;
/** How often the candidate that should lead looks whether the one that does has stepped down. */
const HANDOVER_MS = 100;

export interface Role {
  /** Begins to lead; when it throws, the role is given back and tried again later. */
  gain(): Promise<void>;
  /**
   * Must stop publishing before its first `await`. May come while `gain` is still running, and ends that as well; not
   * called again before the next `gain`.
   */
  lose(reason: string): Promise<void>;
}

export interface LeadershipOptions {
  self: { serverName: string; hostname: string; pid: number; appType: AppType };
  workerProcesses: WorkerProcesses;
  /** Made with `lockLabel(self)`. */
  lock: LeaderLock;
  heartbeatMs: number;
  /** How often a process that does not lead looks whether the lock is free. */
  standbyMs?: number;
  role: Role;
  /** Tells the other processes to elect now (`reconfigure_watcher`). */
  announce?: () => Promise<void>;
  logger: Logger;
  metrics: Metrics;
  clock: Clock;
  random: () => number;
}

/** Names the holder of a lock in a form that fits into the 63 bytes of PostgreSQL's application_name. */
export const lockLabel = (process: { serverName: string; hostname: string }): string =>
  createHash('sha256').update(`${process.serverName}\n${process.hostname}`).digest('hex').slice(0, 24);

/**
 * Decides whether this process is the monitor. The heartbeat rows say who *should* lead, the lock says who *does*: at most
 * one process leads, and one that died is replaced at once, although its row counts as active for another minute.
 *
 * States: standby → (lock taken, `gain` done) leading → (lock lost, better candidate, stop) standby.
 * One loop makes all decisions, one after the other; only the loss of the lock acts from outside, because it must come
 * before anything else.
 *
 * Cost: a standby sends one statement per `standbyMs` (its heartbeat or a look at the lock), a leader one heartbeat per
 * `heartbeatMs` and a check of its lock in the same rhythm.
 */
export class Leadership implements Lifecycle {
  readonly #o: LeadershipOptions;
  readonly #standbyMs: number;
  readonly #backoff: Backoff;
  #stopping: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;
  #electNow = false;
  #rows: WorkerProcessRow[] = [];
  #databaseNow: Micros = 0;
  #beatAt = Number.NEGATIVE_INFINITY;
  #checkedAt = 0;
  #leadingSince: Micros | undefined;
  #losing: Promise<void> = Promise.resolve();
  /** Stepped down for this one: not to be raced against before somebody has held the lock, or it stops beating. */
  #yieldedTo: WorkerProcessRow | undefined;
  #failing = false;

  constructor(options: LeadershipOptions) {
    this.#o = options;
    this.#standbyMs = options.standbyMs ?? 1_000;
    this.#backoff = new Backoff(200, this.#standbyMs, options.random);
    options.lock.onLost((reason) => {
      this.#endRole(`leader lock lost: ${reason}`);
      this.#wakeUp();
    });
  }

  get leading(): boolean {
    return this.#leadingSince !== undefined;
  }

  async start(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    this.#o.metrics.gauge('galaxy.sse.monitor.leader', 0);
    this.#loop = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    const stopping = this.#stopping;
    if (!stopping) return this.#loop;
    this.#stopping = undefined;
    const { lock, workerProcesses, self, announce, logger } = this.#o;
    stopping.abort();
    this.#endRole('stopping');
    this.#wakeUp();
    const running = this.#loop;
    this.#loop = (async () => {
      await running;
      await this.#losing;
      // Each step is tried whatever became of the one before: the others wait for the lock, the row and the word.
      const steps = [() => lock.release(), () => workerProcesses.remove(self), async () => announce?.()];
      for (const step of steps) {
        await step().catch((error: Error) =>
          logger.warn({ reason: error.message }, 'leaving the election was not complete'),
        );
      }
    })();
    return this.#loop;
  }

  /** Looks at once instead of at the next interval; called on `reconfigure_watcher`. */
  electNow(): void {
    this.#electNow = true;
    this.#wakeUp();
  }

  async #run(stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      let waitMs: number;
      try {
        waitMs = await this.#step(stopped);
        this.#backoff.reset();
        if (this.#failing) this.#o.logger.info('election works again');
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) {
          this.#o.logger.warn({ reason: (error as Error).message }, 'election cannot work, trying again');
        }
        this.#failing = true;
        waitMs = this.#backoff.next();
      }
      if (!this.#electNow) await this.#pause(waitMs, stopped);
    }
  }

  /** One round. @returns milliseconds until the next */
  async #step(stopped: AbortSignal): Promise<number> {
    await this.#losing;
    const forced = this.#electNow;
    this.#electNow = false;
    // Before the heartbeat, which may fail for its own reasons: a leader cut off from the database must find it out.
    if (this.leading) await this.#checkLock();
    const beat = forced || this.#isDue(this.#beatAt, this.#o.heartbeatMs);
    if (beat) await this.#heartbeat();
    if (stopped.aborted) return 0;
    if (this.leading) return this.#stepAsLeader();
    // A heartbeat is this interval's statement; only the candidate that should lead looks at the lock as well.
    const lookLater = beat && !forced && this.#o.heartbeatMs >= 2 * this.#standbyMs;
    if (lookLater && this.#rivals().length > 0) return this.#spread(this.#standbyMs);
    return this.#stepAsStandby(stopped);
  }

  async #heartbeat(): Promise<void> {
    const { workerProcesses, self, heartbeatMs } = this.#o;
    const windowMs = Math.max(ACTIVE_MS, (MISSED_HEARTBEATS + 1) * heartbeatMs);
    const { now, active } = await workerProcesses.beat(self, windowMs);
    this.#beatAt = this.#o.clock.monotonic();
    this.#databaseNow = now;
    this.#rows = active;
  }

  async #stepAsLeader(): Promise<number> {
    const since = this.#leadingSince ?? 0;
    // A row that beat after the lock was taken belongs to a living process; a dead one's never does.
    const successor = this.#better().find((row) => row.updateTime > since);
    if (successor) {
      this.#yieldedTo = successor;
      this.#endRole(`${successor.serverName} takes over`);
      await this.#losing;
      await this.#o.lock.release();
      await this.#o.announce?.();
      return this.#spread(this.#standbyMs);
    }
    return this.#spread(this.#lockCheckMs);
  }

  async #checkLock(): Promise<void> {
    if (!this.#isDue(this.#checkedAt, this.#lockCheckMs)) return;
    this.#checkedAt = this.#o.clock.monotonic();
    // A loss is reported to `onLost` by the lock itself.
    await this.#o.lock.check();
  }

  get #lockCheckMs(): number {
    return Math.min(this.#o.heartbeatMs, LOCK_CHECK_MS);
  }

  async #stepAsStandby(stopped: AbortSignal): Promise<number> {
    const { lock, logger } = this.#o;
    const holder = await lock.holder();
    if (holder.held) {
      this.#yieldedTo = undefined;
      if (holder.label !== undefined && this.#isSilent(holder.label) && (await lock.evict())) {
        logger.warn('the leader holds its lock but no longer beats: its lock session was ended');
        return STAGGER_MS;
      }
      return this.#spread(this.#rivals().length === 0 ? HANDOVER_MS : this.#standbyMs);
    }
    if (this.#isAwaited()) return this.#spread(this.#standbyMs);
    await this.#pause(Math.min(MAX_STAGGER_MS, this.#rivals().length * STAGGER_MS), stopped);
    if (!stopped.aborted && (await lock.tryAcquire())) await this.#beginRole(stopped);
    return this.#spread(this.#standbyMs);
  }

  async #beginRole(stopped: AbortSignal): Promise<void> {
    const { lock, logger, metrics, role, self } = this.#o;
    try {
      // The moment after which a better candidate's heartbeat counts, by the database's clock.
      const { now } = await this.#o.workerProcesses.active(0);
      if (stopped.aborted || !lock.held) return;
      this.#leadingSince = now;
      this.#checkedAt = this.#o.clock.monotonic();
      await role.gain();
    } catch (error) {
      this.#endRole('the monitor could not begin');
      await this.#losing;
      await lock.release();
      throw error;
    }
    if (!this.leading) return;
    metrics.gauge('galaxy.sse.monitor.leader', 1);
    logger.info({ server_name: self.serverName }, 'leading: this process is the monitor');
  }

  /** Does nothing when not leading. `lose` is called at once; the next round waits for its end. */
  #endRole(reason: string): void {
    if (this.#leadingSince === undefined) return;
    this.#leadingSince = undefined;
    const { logger, metrics, role } = this.#o;
    this.#losing = role.lose(reason).catch((error: Error) => {
      logger.error({ reason: error.message }, 'the monitor did not end cleanly');
    });
    metrics.gauge('galaxy.sse.monitor.leader', 0);
    logger.info({ reason }, 'no longer leading');
  }

  #better(): WorkerProcessRow[] {
    return betterThan(
      this.#o.self,
      this.#rows.filter((row) => this.#ageMs(row) <= ACTIVE_MS),
    );
  }

  /** Those of the better ones that still beat: who died does not take the lock, however long its row counts. */
  #rivals(): WorkerProcessRow[] {
    return this.#better().filter((row) => this.#ageMs(row) < 2 * this.#o.heartbeatMs);
  }

  /** Someone we stepped down for has not taken the lock yet, and still beats (Galaxy's own monitor never takes it). */
  #isAwaited(): boolean {
    const awaited = this.#yieldedTo;
    if (!awaited) return false;
    const row = this.#better().find((candidate) => isSame(candidate, awaited));
    return row !== undefined && this.#ageMs(row) < 2 * this.#o.heartbeatMs;
  }

  #isSilent(label: string): boolean {
    const row = this.#rows.find((candidate) => lockLabel(candidate) === label);
    return row === undefined || this.#ageMs(row) > MISSED_HEARTBEATS * this.#o.heartbeatMs;
  }

  /** At the time of the last own heartbeat. */
  #ageMs(row: WorkerProcessRow): number {
    return (this.#databaseNow - row.updateTime) / 1000;
  }

  #isDue(last: number, everyMs: number): boolean {
    // Rounds are not exactly spaced: one that comes a little early would otherwise put it off for a whole round.
    return this.#o.clock.monotonic() - last >= everyMs - 50;
  }

  /** Up to a tenth more, so that processes that started together do not ask together. */
  #spread(ms: number): number {
    return ms * (1 + 0.1 * this.#o.random());
  }

  /** Ends early on `electNow`, `stop` and the loss of the lock. */
  #pause(ms: number, stopped: AbortSignal): Promise<void> {
    if (ms <= 0 || stopped.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      this.#wake = done;
      function done() {
        clearTimeout(timer);
        resolve();
      }
    });
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
