import type { LeaderLock, WorkerProcessRow } from '../database/port.js';
import { Backoff } from '../lib/backoff.js';
import type { Lifecycle } from '../lib/lifecycle.js';
import { WakeablePause } from '../lib/wakeable-pause.js';
import type { Metrics } from '../telemetry/metrics.js';
import { Candidacy } from './candidacy.js';
import { Heartbeat, type HeartbeatOptions } from './heartbeat.js';
import { type Role, Tenure } from './tenure.js';

/** Wait for each better candidate with a fresh heartbeat before trying a free lock. */
const STAGGER_MS = 200;
const MAX_STAGGER_MS = 1_500;
const SPREAD = 1.1;
/** The interval at which a monitor checks a lock that a worker is about to release for it. */
const AWAITED_LOOK_MS = 100;
/** The worker steps down at one of its next two heartbeats; if it did not after so many, it never will. */
const AWAITED_HEARTBEATS = 3;
/** The database keeps the lock of a silent holder for this many heartbeats, but at most `SILENCE_MS`. */
const SILENT_HEARTBEATS = 4;
const SILENCE_MS = 7_500;
/** A free lock is taken within three seconds. Later, `/readyz` reports it. */
const NOBODY_MS = 5_000;

export interface LeadershipOptions extends HeartbeatOptions {
  /** Created with `silenceMs(heartbeatMs)`. */
  lock: LeaderLock;
  /** The interval at which a standby checks whether the lock is free. */
  standbyMs?: number;
  role: Role;
  /** When the broker last confirmed a message of this role, by the monotonic clock. */
  confirmedAt: () => number | undefined;
  unconfirmedMs?: number;
  firstConfirmationMs?: number;
  /** Why this process cannot do the work of the role now; undefined if it can. Call `electNow` on a change. */
  hindrance: () => string | undefined;
  /** Asks the other processes to elect now (`reconfigure_watcher`). */
  announce?: () => Promise<void>;
  metrics: Metrics;
  random: () => number;
}

export const silenceMs = (heartbeatMs: number): number =>
  Math.min(SILENCE_MS, SILENT_HEARTBEATS * heartbeatMs);

/** Describes the holder of the lock for people. The lock itself does not depend on it. */
export const lockLabel = (self: { serverName: string; hostname: string; pid: number }): string =>
  `${self.pid} ${self.serverName}@${self.hostname}`;

/** The database may have truncated the label. */
const isLabelOf = (label: string, { pid, ...row }: WorkerProcessRow): boolean =>
  lockLabel({ ...row, pid: pid ?? 0 }).startsWith(label);

/**
 * Decides whether this process is the monitor: the holder of the lock is. A better candidate (`rank.ts`) waits less before it
 * tries; a worker steps down for a standalone monitor that starts later. A process without a broker does not try
 * (`candidacy.ts`); a leader whose messages are not confirmed gives the lock back for a while (`tenure.ts`).
 *
 * Cost: a standby sends one statement per `standbyMs` (its heartbeat or a look at the lock); a monitor for which a worker is about
 * to step down sends ten a second.
 */
export class Leadership implements Lifecycle {
  readonly #o: LeadershipOptions;
  readonly #heartbeat: Heartbeat;
  readonly #standbyMs: number;
  readonly #backoff: Backoff;
  readonly #candidacy: Candidacy;
  readonly #pause = new WakeablePause();
  #stopping: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();
  #electNow = false;
  #tenure: Tenure | undefined;
  #failure: string | undefined;
  /** The label of the last known holder of the lock, and when it was first seen. */
  #lastHolder: { label: string; since: number } | undefined;

  constructor(options: LeadershipOptions) {
    this.#o = options;
    this.#heartbeat = new Heartbeat(options);
    this.#standbyMs = options.standbyMs ?? 1_000;
    this.#backoff = new Backoff(200, this.#standbyMs, options.random);
    this.#candidacy = new Candidacy(options.clock, options.random);
    options.lock.onLost((reason) => this.#tenure?.end('lock lost', `leader lock lost: ${reason}`));
  }

  get leading(): boolean {
    return this.#tenure !== undefined && this.#tenure.ended === undefined;
  }

  /** For `/readyz`: one line about why no process holds the role, or undefined. */
  problem(): string | undefined {
    if (!this.#stopping) return undefined;
    if (this.leading) {
      const ms = this.#tenure?.unconfirmedMs;
      if (ms === undefined) return undefined;
      return `this process is the monitor, but the broker has confirmed none of its messages for ${seconds(ms)} s`;
    }
    if (this.#failure !== undefined) return `the election of the monitor fails: ${this.#failure}`;
    const { freeMs } = this.#candidacy;
    if (freeMs < NOBODY_MS) return undefined;
    const why = this.#o.hindrance() ?? 'the broker did not confirm its messages; it retries soon';
    return `no process has been the monitor for ${seconds(freeMs)} s; this process is not, because ${why}`;
  }

  async start(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    this.#electNow = true;
    this.#o.metrics.gauge('galaxy.sse.monitor.leader', 0);
    this.#loop = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    const stopping = this.#stopping;
    if (!stopping) return this.#loop;
    this.#stopping = undefined;
    stopping.abort();
    this.#tenure?.end('stopped', 'stopping');
    this.#pause.wake();
    this.#loop = this.#leave(this.#loop);
    return this.#loop;
  }

  /**
   * Each step runs even if the previous one failed: other processes wait for the lock, the row and the announcement.
   */
  async #leave(running: Promise<void>): Promise<void> {
    const { lock, workerProcesses, self, announce, logger } = this.#o;
    const tenure = this.#tenure;
    const steps = [
      async () => tenure?.released,
      () => running,
      () => lock.release(),
      () => workerProcesses.remove(self),
      async () => announce?.(),
      async () => tenure?.done,
    ];
    for (const step of steps) {
      await step().catch((error: Error) =>
        logger.warn({ err: error }, 'process did not leave the election cleanly'),
      );
    }
  }

  /** Elects at once instead of at the next interval: on `reconfigure_watcher`, and when a hindrance is over. */
  electNow(): void {
    this.#electNow = true;
    this.#pause.wake();
  }

  /** The hindrance of this process is over. */
  unhindered(): void {
    this.#candidacy.unhindered();
    this.electNow();
  }

  async #run(stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      let waitMs: number;
      try {
        waitMs = await this.#round(stopped);
        this.#backoff.reset();
        if (this.#failure !== undefined) this.#o.logger.info('election works again');
        this.#failure = undefined;
      } catch (error) {
        const { message } = error as Error;
        if (this.#failure === undefined) {
          this.#o.logger.warn({ err: error }, 'election round failed: retrying');
        }
        this.#failure = message;
        waitMs = this.#backoff.next();
      }
      // A request or an end that arrived before the wait must not wait.
      if (!this.#electNow && !this.#tenure?.ended) await this.#pause.wait(waitMs, stopped);
    }
  }

  /** @returns milliseconds until the next round */
  async #round(stopped: AbortSignal): Promise<number> {
    await this.#settle();
    const forced = this.#electNow;
    this.#electNow = false;
    const isDue = (forced || this.#heartbeat.dueInMs <= 50) && this.#couldLead();
    if (isDue) await this.#heartbeat.beat();
    if (stopped.aborted) return 0;
    if (this.#tenure) {
      this.#stepDownForMonitor();
      return this.#spread(Math.max(50, this.#heartbeat.dueInMs));
    }
    // The heartbeat is the only statement of this interval.
    const lookLater = isDue && !forced && this.#o.heartbeatMs >= 2 * this.#standbyMs;
    if (lookLater && !this.#candidacy.isLockFree) return this.#spread(this.#lookMs);
    return this.#stand(stopped);
  }

  /** Other candidates, including Galaxy's own monitors, wait for a process with a fresh row. */
  #couldLead(): boolean {
    if (this.leading) return true;
    return this.#mayTry() && this.#failure === undefined;
  }

  #mayTry(): boolean {
    return this.#candidacy.state === 'open' && this.#o.hindrance() === undefined;
  }

  async #stand(stopped: AbortSignal): Promise<number> {
    const { lock } = this.#o;
    const holder = await lock.holder();
    this.#candidacy.lockSeen(holder.held);
    if (holder.held && holder.label !== undefined && holder.label !== this.#lastHolder?.label) {
      this.#lastHolder = { label: holder.label, since: this.#o.clock.monotonic() };
    }
    if (holder.held || !this.#mayTry()) return this.#spread(this.#lookMs);
    await this.#pause.wait(this.#staggerMs(), stopped);
    if (!stopped.aborted && (await lock.tryAcquire())) this.#begin(stopped);
    return this.#spread(this.#standbyMs);
  }

  get #lookMs(): number {
    return this.#awaitsHandover ? AWAITED_LOOK_MS : this.#standbyMs;
  }

  /** A worker holds the lock, and is about to step down for this monitor. */
  get #awaitsHandover(): boolean {
    const { self, heartbeatMs, clock } = this.#o;
    const { rivals, monitors } = this.#heartbeat;
    const holder = this.#lastHolder;
    if (self.appType !== 'sse_monitor' || rivals > 0 || holder === undefined) return false;
    if (clock.monotonic() - holder.since > AWAITED_HEARTBEATS * heartbeatMs) return false;
    return !monitors.some((row) => isLabelOf(holder.label, row));
  }

  #staggerMs(): number {
    const { rivals, monitors } = this.#heartbeat;
    const before = this.#lastHolder?.label;
    // The worker yields to a monitor with a fresh heartbeat that did not hold the lock. Nothing wakes that monitor: it
    // checks once per `standbyMs`.
    const isAwaited =
      this.#o.self.appType === 'webapp' &&
      before !== undefined &&
      monitors.some((row) => !isLabelOf(before, row));
    return isAwaited ? SPREAD * this.#standbyMs + STAGGER_MS : Math.min(MAX_STAGGER_MS, rivals * STAGGER_MS);
  }

  #begin(stopped: AbortSignal): void {
    const { metrics, lock } = this.#o;
    if (stopped.aborted || !lock.held) return;
    this.#candidacy.lockTaken();
    this.#heartbeat.beginTenure();
    const parts = { ...this.#o, silenceMs: silenceMs(this.#o.heartbeatMs) };
    metrics.gauge('galaxy.sse.monitor.leader', 1);
    this.#tenure = new Tenure(parts, () => {
      metrics.gauge('galaxy.sse.monitor.leader', 0);
      this.#pause.wake();
    });
  }

  /** Decides after the end of a tenure when to try again. */
  async #settle(): Promise<void> {
    const tenure = this.#tenure;
    if (!tenure?.ended) return;
    this.#candidacy.tenureEnded(tenure.ended, tenure.worked);
    await tenure.released;
    if (tenure.ended !== 'stopped') this.#o.announce?.().catch(() => {});
    await tenure.done;
    this.#tenure = undefined;
  }

  /** A standalone monitor takes the role from a worker. */
  #stepDownForMonitor(): void {
    if (this.#o.self.appType !== 'webapp' || !this.#candidacy.mayYield) return;
    const { monitor } = this.#heartbeat;
    if (monitor !== undefined) this.#tenure?.end('handed over', `${monitor} takes over`);
  }

  /** Adds up to a tenth, so that processes that started together do not query together. */
  #spread(ms: number): number {
    return ms * (1 + (SPREAD - 1) * this.#o.random());
  }
}

const seconds = (ms: number): number => Math.round(ms / 1_000);
