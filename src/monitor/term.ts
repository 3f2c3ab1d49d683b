/** One term of the monitor: what happens between gaining the role and losing it. The picture is in `history-audit-monitor.ts`. */

import { Backoff } from '../core/backoff.js';
import { untilBeat } from '../core/beat.js';
import { LightconeError } from '../core/errors.js';
import type { Cursor, HistoryId } from '../core/events.js';
import { sleep, withDeadline } from '../core/lifecycle.js';
import { toTasks } from '../core/tasks.js';
import { MICROS_PER_SECOND, secondsToMicros } from '../core/time.js';
import type { HintListener, HintSource } from '../database/port.js';
import { Coalescer } from './coalescer.js';
import type { MonitorParts } from './parts.js';
import { Published } from './published.js';

/** One name for the role's stored cursor, whoever holds it. */
const ROLE = 'history_audit_monitor';
const TICK_MS = 1000;
/** Every second tick carries a new moment: with the heartbeats that keeps an idle leader under one statement a second. */
const TICKS_PER_BARRIER = 2;
const RECONCILE_MS = 30_000;
/** For statements that are quick on every database that answers: on a silent connection they would hold everything up. */
const QUICK_MS = 2_500;
/** Where no cursor was ever stored: what changed while the first leader was being found is published as well. */
const FIRST_LOOK_BACK = 60 * MICROS_PER_SECOND;
/** The same where the stored cursor lies in the future: the database's clock was set back, nobody knows how far. */
const UNKNOWN_LOOK_BACK = 900 * MICROS_PER_SECOND;
/** Histories per owner statement and control task. */
const FLUSH_LIMIT = 1000;

/** Name and gap cause of the source that knows nothing but the time. */
const POLL = 'poll';

/** One term of office: everything in it ends with it. */
export class Term implements HintListener {
  cursor: Cursor | undefined;
  /** Why the database must be read from the cursor before the next tick; undefined when nothing is outstanding. */
  behind: string | undefined = 'takeover';
  /** When the broker last confirmed a tick, by the monotonic clock. */
  confirmedAt: number | undefined;
  /** Counts the falls: a read or a barrier that was begun before the last one says nothing about what was lost in it. */
  private falls = 0;
  private readonly coalescer: Coalescer;
  private readonly source: HintSource;
  private readonly over = new AbortController();
  private readonly overlap: Cursor;
  private published = new Published(0);
  private walkingBack = false;
  /** A read from the cursor is under way: what hints say from here on may have been committed after it. */
  private reading = false;
  private flushTimer: NodeJS.Timeout | undefined;
  /** Pieces of work that read and publish run one after the other. */
  private work: Promise<void> = Promise.resolve();
  private flushQueued = false;
  private polled: { until: Cursor; at: number } | undefined;
  /** When the cursor was last known to be true. */
  private cursorAt: number;
  /** The cursor has not moved since the last fall: it is moved as soon as that is possible. */
  private stale = true;
  private moving = false;
  private sequence = 0;
  private unsavedWork = true;
  private removeBusListener: () => void = () => {};

  constructor(private readonly parts: MonitorParts) {
    this.coalescer = new Coalescer(parts.debounceMs);
    this.source = parts.createHintSource(this);
    this.overlap = secondsToMicros(parts.overlapSeconds);
    this.cursorAt = parts.clock.monotonic();
  }

  get sourceName(): string {
    return this.source.name;
  }

  async start(): Promise<void> {
    this.removeBusListener = this.parts.bus.onAvailable(() => {
      if (this.behind !== undefined) this.catchUp();
    });
    await this.source.start(this.over.signal);
    void this.run();
  }

  async stop(): Promise<void> {
    this.over.abort();
    clearTimeout(this.flushTimer);
    this.removeBusListener();
    await this.source.stop();
    await this.work;
  }

  // --- hints -------------------------------------------------------------------------------------------------------

  onHistories(historyIds: readonly HistoryId[]): void {
    if (this.over.signal.aborted) return;
    // While behind, the read from the cursor will find them.
    if (this.behind !== undefined && !this.reading) return;
    const now = this.parts.clock.monotonic();
    for (const historyId of historyIds) this.coalescer.add(historyId, now);
    this.scheduleFlush();
  }

  onGap(cause: string): void {
    if (this.over.signal.aborted) return;
    if (cause === POLL) void this.enqueue(() => this.poll());
    else this.fallBehind(cause);
  }

  // --- flushing ----------------------------------------------------------------------------------------------------

  private scheduleFlush(): void {
    if (this.flushQueued || this.over.signal.aborted) return;
    const due = this.coalescer.nextDue();
    if (due === undefined) return;
    clearTimeout(this.flushTimer);
    const wait = due - this.parts.clock.monotonic();
    if (wait <= 0) this.queueFlush();
    else this.flushTimer = setTimeout(() => this.queueFlush(), Math.ceil(wait));
  }

  private queueFlush(): void {
    if (this.flushQueued) return;
    this.flushQueued = true;
    this.enqueue(async () => {
      this.flushQueued = false;
      await this.flush();
      this.scheduleFlush();
    });
  }

  private async flush(): Promise<void> {
    const historyIds = this.coalescer.take(this.parts.clock.monotonic(), FLUSH_LIMIT);
    if (historyIds.length === 0) return;
    const { changeLog, bus, metrics } = this.parts;
    metrics.increment('galaxy.sse.changes.seen', historyIds.length);
    try {
      const changes = await quick(changeLog.changesOf(historyIds, this.published.floor));
      if (this.over.signal.aborted) return;
      await Promise.all(toTasks(changes).map((task) => bus.publish(task)));
      this.published.record(changes);
      this.unsavedWork = true;
    } catch (error) {
      this.fallBehind('publish_failed', error);
    }
  }

  /** Runs `work` after what is already under way; a failure puts the term behind, it never ends it. */
  private enqueue(work: () => Promise<void>): Promise<void> {
    this.work = this.work.then(async () => {
      if (this.over.signal.aborted) return;
      try {
        await work();
      } catch (error) {
        this.fallBehind('database_unavailable', error);
      }
    });
    return this.work;
  }

  // --- behind, and back --------------------------------------------------------------------------------------------

  private fallBehind(cause: string, error?: unknown): void {
    if (this.over.signal.aborted) return;
    if (this.behind === undefined) {
      this.parts.logger.warn(
        { cause, err: error },
        'the monitor is behind: it will read the changes since its cursor and publish them',
      );
    }
    this.behind = cause;
    this.falls += 1;
    this.stale = true;
    this.polled = undefined;
    this.coalescer.clear();
    this.catchUp();
  }

  /** Starts the way back, unless it is being walked. */
  private catchUp(): void {
    if (this.walkingBack || this.over.signal.aborted) return;
    this.walkingBack = true;
    void this.walkBack();
  }

  private async walkBack(): Promise<void> {
    const backoff = new Backoff(50, 1000);
    let complained = false;
    while (this.behind !== undefined && !this.over.signal.aborted) {
      const cause = this.behind;
      try {
        if (this.parts.bus.available) {
          await this.enqueueThrowing(() => this.readSinceCursor(cause));
          continue;
        }
      } catch (error) {
        if (!complained) {
          this.parts.logger.warn(
            { cause, err: error },
            'the changes since the cursor cannot be read yet; trying again until they can',
          );
        }
        complained = true;
      }
      await sleep(backoff.next(), this.over.signal).catch(() => {});
    }
    // In one step with the last look at `behind`: who falls behind from here on starts a new walk.
    this.walkingBack = false;
  }

  private async enqueueThrowing(work: () => Promise<void>): Promise<void> {
    let failure: unknown;
    await this.enqueue(async () => {
      try {
        await work();
      } catch (error) {
        failure = error;
      }
    });
    if (failure !== undefined) throw failure;
  }

  private async readSinceCursor(cause: string): Promise<void> {
    const { changeLog, cursors, metrics, logger, clock } = this.parts;
    const { falls } = this;
    const now = await quick(changeLog.now());
    this.cursor ??= (await quick(cursors.read(ROLE))) ?? now - FIRST_LOOK_BACK;
    const since = this.cursor <= now + this.overlap ? Math.min(this.cursor, now) : now - UNKNOWN_LOOK_BACK;
    const floor = since - this.overlap;
    this.reading = true;
    const changes = await changeLog.changesSince(floor, { kind: 'all' }).finally(() => {
      this.reading = false;
    });
    if (falls !== this.falls) return;
    this.behind = undefined;
    this.published = new Published(floor);
    metrics.increment('galaxy.sse.monitor.resync', 1, { cause });
    logger.info(
      { cause, histories: changes.length },
      'changes since the cursor were read and will be published',
    );
    const at = clock.monotonic();
    for (const { historyId } of changes) this.coalescer.add(historyId, at);
    this.scheduleFlush();
  }

  /** One look for what is not published yet; all that a source without hints can do. */
  private async poll(): Promise<void> {
    if (this.behind !== undefined) return;
    const until = await this.source.barrier();
    await this.publishUnknown();
    this.polled = { until, at: this.parts.clock.monotonic() };
  }

  /** @returns how many histories have changed since the floor, published or not */
  private async publishUnknown(): Promise<number> {
    const { changeLog } = this.parts;
    const changes = await changeLog.changesSince(this.published.floor, { kind: 'all' });
    const unknown = this.published.unknown(changes);
    if (unknown.length > 0) this.onHistories(unknown);
    return changes.length;
  }

  /**
   * Finds what no hint announced, and moves the floor. The new baseline is read before the last comparison: what is
   * committed between the two reads is then told twice, never not at all. In a quiet time one read is enough, since there
   * is nothing above the old floor and so nothing above the new one.
   */
  private async reconcile(): Promise<void> {
    if (this.behind !== undefined || this.cursor === undefined) return;
    const floor = this.cursor - this.overlap;
    const baseline = new Published(floor);
    if ((await this.publishUnknown()) > 0) {
      baseline.record(await this.parts.changeLog.changesSince(floor, { kind: 'all' }));
      await this.publishUnknown();
    }
    this.published = baseline;
  }

  // --- ticks -------------------------------------------------------------------------------------------------------

  private async run(): Promise<void> {
    const { clock } = this.parts;
    const { signal } = this.over;
    this.catchUp();
    let reconciledAt = clock.monotonic();
    for (let round = 0; !signal.aborted; round += 1) {
      const begin = clock.monotonic();
      if (begin - reconciledAt >= RECONCILE_MS) {
        reconciledAt = begin;
        void this.enqueue(() => this.reconcile());
      }
      if (round % TICKS_PER_BARRIER === 0 || this.stale) this.moveCursor();
      await this.tick(round % TICKS_PER_BARRIER === 0);
      await sleep(untilBeat(TICK_MS, clock), signal).catch(() => {});
    }
  }

  private async tick(andStore: boolean): Promise<void> {
    const { bus, leaderName, logger, metrics, clock, cursors } = this.parts;
    try {
      metrics.gauge('galaxy.sse.monitor.cursor_age_ms', clock.monotonic() - this.cursorAt);
      if (this.behind !== undefined || this.cursor === undefined || this.over.signal.aborted) return;
      this.sequence += 1;
      await bus.publishTick({ leader: leaderName, sequence: this.sequence, until: this.cursor });
      this.confirmedAt = clock.monotonic();
      if (this.unsavedWork && andStore) {
        this.unsavedWork = false;
        await quick(cursors.write(ROLE, this.cursor));
      }
    } catch (error) {
      this.unsavedWork = true;
      if (!this.over.signal.aborted) {
        logger.debug({ err: error }, 'no tick this second: the database or the bus did not answer');
      }
    }
  }

  /** Beside the ticks: however long it takes, each second says what is true by then. */
  private moveCursor(): void {
    if (this.moving) return;
    this.moving = true;
    this.advanceCursor()
      .catch((error) =>
        this.parts.logger.debug({ err: error }, 'the cursor stays: the database did not answer'),
      )
      .finally(() => {
        this.moving = false;
      });
  }

  /** Moves the cursor to a moment before which everything is published; leaves it where that cannot be said. */
  private async advanceCursor(): Promise<void> {
    const { clock } = this.parts;
    const { falls, behind } = this;
    // Asked while behind as well: the question is what finds a silent LISTEN connection.
    const reached =
      this.source.name === POLL ? this.polled : { until: await this.source.barrier(), at: clock.monotonic() };
    // What was handed over while behind was not kept.
    if (reached === undefined || behind !== undefined || !(await this.flushedUpTo(reached.at, falls))) return;
    // It may go back, with the database's clock.
    this.cursor = reached.until;
    this.cursorAt = reached.at;
    this.stale = false;
  }

  /** Waits until all that was handed over before `time` is published. @returns false when that failed */
  private async flushedUpTo(time: number, falls: number): Promise<boolean> {
    // Behind in between and back already: what was read again may still wait, with a later time.
    const failed = (): boolean =>
      this.behind !== undefined || this.falls !== falls || this.over.signal.aborted;
    while (!failed() && this.coalescer.holdsFrom(time)) {
      const wait = Math.max(1, (this.coalescer.nextDue() ?? time) - this.parts.clock.monotonic());
      await sleep(wait, this.over.signal).catch(() => {});
      await this.work;
    }
    // All of it is taken now, by what is under way: what comes after that is not waited for.
    await this.work;
    return !failed();
  }
}

const quick = <T>(statement: Promise<T>): Promise<T> =>
  withDeadline(
    statement,
    QUICK_MS,
    () => new LightconeError('DATABASE_UNAVAILABLE', `no answer within ${QUICK_MS} ms`),
  );
