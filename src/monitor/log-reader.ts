/**
 * Reads the log: what became visible since its position, whenever a hint wakes it and now and then anyway.
 *
 * ```
 *   starting ──position found──► following ◄──────────────┐
 *      ▲                         │      │                 │ a read worked
 *      │ the database failed     │      └─a read is slow─► behind
 *      └─────────────────────────┘            (the histories that hints name are looked up one by one meanwhile)
 *   any ──a publish failed──► starting, or paused while the bus is away; it reads from the confirmed position
 * ```
 */

import type { HistoryChange, HistoryId } from '../core/events.js';
import type { ChangeLog, LogEnd, LogPosition, LogRead, PositionStore } from '../database/port.js';
import { Backoff } from '../lib/backoff.js';
import type { Clock } from '../lib/clock.js';
import { sleep } from '../lib/lifecycle.js';
import { MICROS_PER_SECOND } from '../lib/time.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import { inTime } from './in-time.js';
import { LookUp } from './look-up.js';
import { PieceSize } from './piece-size.js';

/** The cause of a resync, in words for an administrator. */
export const CAUSES = {
  takeover: 'it has just taken over',
  publish_failed: 'publishing failed',
  database_unavailable: 'the database does not answer',
  slow_read: 'a read of the log is slow',
  long_log: 'there is much to read',
} as const;
export type ResyncCause = keyof typeof CAUSES;

export type ReaderState = 'starting' | 'following' | 'behind' | 'paused';

/** A longer read counts as slow, and hints no longer wait for it. */
const SLOW_MS = 250;
/** Without a stored position, the monitor also publishes the changes that were made before the first leader started. */
const FIRST_LOOK_BACK = 60 * MICROS_PER_SECOND;
/**
 * Rest after an expensive read: the read's duration minus this, so that such reads take at most half of the database's
 * time.
 */
const CHEAP_MS = 10;
/** Spans over which the rate of changes is averaged, so that a burst of delayed writers does not count as a flood. */
const RATE_MS = { now: 200, lately: 1_000 };
/** Maximum number of unread histories named by hints. Further ones are dropped, because the log has them. */
const MOST_HINTED = 10_000;

export interface ReaderOptions {
  changeLog: ChangeLog;
  positions: PositionStore;
  /** False while publishing is impossible; then nothing is read either. */
  canPublish: () => boolean;
  /** The result of a read, in order; `end` is set once all of it was passed on. */
  onRead: (changes: readonly HistoryChange[], end: LogEnd & { auditRows?: number }) => void;
  /** Changes of histories named by hints, while the log cannot be read. */
  onLookedUp: (changes: readonly HistoryChange[]) => void;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

export class LogReader {
  state: ReaderState = 'starting';
  /** Why it is behind; undefined while it follows. */
  cause: ResyncCause | undefined = 'takeover';
  /** Why the last read failed; undefined if it did not. */
  failure: string | undefined;
  position: LogPosition | undefined;
  /** The position stored at the start of this term; undefined if there was none, or one of another log. */
  found: LogEnd | undefined;
  /** A read is due. */
  private woken = true;
  private reading = false;
  private readAt = Number.NEGATIVE_INFINITY;
  private readonly rowsPerMs = { now: 0, lately: 0 };
  /** Counts restarts: a read that began before the last one proves nothing about the time after it. */
  private restarts = 0;
  private hinted = new Set<HistoryId>();
  private readonly size = new PieceSize(10_000);
  private readonly lookUp: LookUp;
  private wakeLoop: (() => void) | undefined;

  constructor(
    private readonly options: ReaderOptions,
    private readonly over: AbortSignal,
  ) {
    this.lookUp = new LookUp(options.changeLog, (changes) => {
      if (!over.aborted) options.onLookedUp(changes);
    });
    over.addEventListener('abort', () => this.wakeLoop?.());
  }

  /** It follows the log and has nothing to read. */
  get idle(): boolean {
    return this.state === 'following' && !this.woken && !this.reading;
  }

  /** A hint: something changed, perhaps these histories. */
  wake(historyIds: readonly HistoryId[] = []): void {
    for (const id of historyIds) if (this.hinted.size < MOST_HINTED) this.hinted.add(id);
    if (this.state === 'behind') this.lookUpHinted();
    this.woken = true;
    this.wakeLoop?.();
  }

  /** Reads if the last read is longer ago than this. */
  readAfter(ms: number): void {
    if (this.options.clock.monotonic() - this.readAt >= ms) this.wake();
  }

  /** After a failed publish, or the return of the bus: reads again from the confirmed position. */
  restart(cause: ResyncCause, from: LogPosition | undefined): void {
    this.restarts += 1;
    this.state = this.options.canPublish() ? 'starting' : 'paused';
    this.cause = cause;
    this.position = from;
    this.wake();
  }

  async run(): Promise<void> {
    const backoff = new Backoff(50, 1_000);
    let isLogged = false;
    while (!this.over.aborted) {
      if (!this.woken || !this.options.canPublish()) {
        await this.pause();
        continue;
      }
      try {
        const pace = await this.readOnce();
        backoff.reset();
        isLogged = false;
        this.failure = undefined;
        await sleep(pace, this.over).catch(() => {});
      } catch (error) {
        if (this.over.aborted) return;
        this.failure = error instanceof Error ? error.message : String(error);
        if (!isLogged) this.logFailure(error);
        isLogged = true;
        await sleep(backoff.next(), this.over).catch(() => {});
      }
    }
  }

  private async pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.wakeLoop = resolve;
    });
    this.wakeLoop = undefined;
  }

  private logFailure(error: unknown): void {
    this.options.logger.warn(
      { cause: this.cause, err: error },
      'monitor cannot read the log of changes: retrying until it can',
    );
  }

  /** Reads one piece. @returns milliseconds until the next may follow */
  private async readOnce(): Promise<number> {
    const { clock, metrics, logger } = this.options;
    const { restarts } = this;
    this.woken = false;
    this.reading = true;
    const before = this.hinted;
    this.hinted = new Set();
    const begun = clock.monotonic();
    const slow = setTimeout(() => this.fallBehind('slow_read', before), SLOW_MS);
    try {
      const read = await this.piece();
      if (this.over.aborted) return 0;
      if (restarts !== this.restarts) return 0;
      const now = clock.monotonic();
      this.measureRate(read.auditRows ?? read.changes.length, Math.max(1, now - this.readAt));
      this.size.took(now - begun);
      this.position = read.position;
      this.readAt = now;
      if (this.state !== 'following' && read.complete) {
        const cause = this.cause ?? 'takeover';
        metrics.increment('galaxy.sse.monitor.resync', 1, { cause });
        logger.info(
          { cause, histories: read.changes.length },
          'monitor caught up: it publishes the changes since its cursor',
        );
      }
      if (read.complete) {
        this.state = 'following';
        this.cause = undefined;
      } else {
        this.woken = true;
        this.fallBehind('long_log', before);
      }
      this.options.onRead(read.changes, read);
      return read.complete ? Math.max(this.gap(), now - begun - CHEAP_MS) : 0;
    } catch (error) {
      this.woken = true;
      this.size.tooSlow(clock.monotonic() - begun);
      this.fallBehind('database_unavailable', before);
      // A crashed server reuses transaction numbers, so only the stored position is reliable.
      if (restarts === this.restarts) this.position = undefined;
      throw error;
    } finally {
      clearTimeout(slow);
      this.reading = false;
    }
  }

  private measureRate(rows: number, ms: number): void {
    for (const over of ['now', 'lately'] as const)
      this.rowsPerMs[over] += (rows / ms - this.rowsPerMs[over]) * Math.min(1, ms / RATE_MS[over]);
  }

  private gap(): number {
    return gapAt(this.rowsPerMs.now * 1_000, this.rowsPerMs.lately * 1_000);
  }

  private fallBehind(cause: ResyncCause, hinted: Set<HistoryId>): void {
    for (const id of hinted) this.hinted.add(id);
    hinted.clear();
    if (this.state === 'following') this.cause = cause;
    this.state = 'behind';
    this.lookUpHinted();
  }

  private lookUpHinted(): void {
    if (!this.options.canPublish()) return;
    this.lookUp.add(this.hinted);
    this.hinted = new Set();
  }

  private async piece(): Promise<LogRead> {
    const { changeLog } = this.options;
    const from = this.position ?? (await this.stored());
    const read = from && (await inTime(changeLog.since(from, { kind: 'all' }, this.size.now)));
    if (read) return read;
    // The end of the log first, then the changes before: what commits in between is delivered twice.
    const end = await inTime(changeLog.end());
    const floor = end.moment - FIRST_LOOK_BACK;
    const changes = await inTime(changeLog.changesSince(floor, { kind: 'all' }));
    return { ...end, changes, complete: true };
  }

  private async stored(): Promise<LogPosition | undefined> {
    const { changeLog, positions } = this.options;
    const log = await inTime(changeLog.identify());
    const newest = await inTime(positions.newest(log));
    this.found ??= newest;
    return newest?.position;
  }
}

/**
 * Milliseconds until the next read. Changes that are read together cost one statement, and from 6,000 changes a second
 * on, readers and writers compete for processors. The function has no step, so no rate lies next to one.
 */
export const gapAt = (rowsPerSecond: number, lately = rowsPerSecond): number =>
  3 + 17 * ramp(rowsPerSecond, 280, 360) + 180 * ramp(lately, 6_000, 12_000);

const ramp = (value: number, from: number, to: number): number =>
  Math.min(1, Math.max(0, (value - from) / (to - from)));
