/** One term of the monitor: what happens between gaining the role and losing it. The picture is in `history-audit-monitor.ts`. */

import type { Cursor, HistoryChange, HistoryId, Micros } from '../core/events.js';
import { toTasks } from '../core/history-tasks.js';
import type { HintListener, HintSource, LogEnd } from '../database/port.js';
import { msUntilAligned } from '../lib/aligned-interval.js';
import { sleep } from '../lib/lifecycle.js';
import { MICROS_PER_SECOND } from '../lib/time.js';
import { Coalescer } from './coalescer.js';
import { inTime } from './in-time.js';
import { CAUSES, LogReader } from './log-reader.js';
import type { MonitorOptions } from './parts.js';

const TICK_MS = 1_000;
/** Every second tick carries a new moment: with heartbeats and the lock that keeps an idle leader under one statement a second. */
const TICKS_PER_BARRIER = 2;
/** A hint may be lost, or not be sent at all: the log is read so often whatever is heard. */
const READ_ANYWAY_MS = 30_000;
/** While hints do not come. */
const READ_BLIND_MS = 1_000;
/** Without changes a position is stored when the one before is so old, so that a successor has not far to go. */
const STORE_ANYWAY: Micros = 60 * MICROS_PER_SECOND;
/** No tick is further ahead of what is stored: whoever comes later knows which moments may have been given out. */
const FURTHEST_AHEAD: Micros = STORE_ANYWAY + 10 * MICROS_PER_SECOND;
/** Smaller steps back of the database's clock are within every margin. */
const SMALLEST_STEP: Micros = MICROS_PER_SECOND;
/** Histories per control task and flush. */
const FLUSH_LIMIT = 1_000;

/** Name of the source that knows nothing but the time. */
const POLL = 'poll';

/** Everything up to `moment` is in the reads up to this one. */
interface Checkpoint extends LogEnd {
  read: number;
  /** On this process's clock. */
  at: number;
}

/** One term of office: everything in it ends with it. */
export class Term implements HintListener {
  /** When the broker last confirmed a tick, by the monotonic clock. */
  confirmedAt: number | undefined;
  private readonly coalescer: Coalescer;
  private readonly source: HintSource;
  private readonly reader: LogReader;
  private readonly over = new AbortController();
  private flushTimer: NodeJS.Timeout | undefined;
  private flushing: Promise<void> | undefined;
  /** Number of the oldest read that is being published. */
  private inFlight = Number.POSITIVE_INFINITY;
  private reads = 0;
  private readonly checkpoints: Checkpoint[] = [];
  private confirmed: Checkpoint | undefined;
  /** What a successor begins from, and all that is told of positions outside. */
  private stored: LogEnd | undefined;
  private changedSinceStored = true;
  /** The latest moment of a tick. */
  private ticked: Cursor = 0;
  /** The latest that is stored for the sake of ticks. */
  private tickedStored: Cursor = 0;
  private asking = false;
  /** Hints come: the last barrier was answered. */
  private hearing = true;
  private sequence = 0;
  private removeBusListener: () => void = () => {};

  constructor(private readonly options: MonitorOptions) {
    const { changeLog, positions, bus, clock, logger, metrics } = options;
    this.coalescer = new Coalescer(options.debounceMs);
    this.source = options.createHintSource(this);
    this.reader = new LogReader(
      {
        changeLog,
        positions,
        canPublish: () => bus.available,
        onRead: (changes, end) => this.onRead(changes, end),
        onLookedUp: (changes) => this.keep(changes, Number.POSITIVE_INFINITY),
        clock,
        logger,
        metrics,
      },
      this.over.signal,
    );
  }

  get sourceName(): string {
    return this.source.name;
  }

  /** Everything up to here is published; undefined while nothing is known. */
  get cursor(): Cursor | undefined {
    return this.confirmed?.moment;
  }

  /** One line of what holds publishing up, or undefined. */
  get behind(): string | undefined {
    const { state, cause } = this.reader;
    return state === 'following' ? undefined : cause === undefined ? state : CAUSES[cause];
  }

  async start(): Promise<void> {
    this.removeBusListener = this.options.bus.onAvailable(() => this.reader.wake());
    await this.source.start(this.over.signal);
    void this.reader.run();
    void this.run();
  }

  async stop(): Promise<void> {
    this.over.abort();
    clearTimeout(this.flushTimer);
    this.removeBusListener();
    await this.source.stop();
    await this.flushing;
  }

  // --- hints -------------------------------------------------------------------------------------------------------

  onHistories(historyIds: readonly HistoryId[]): void {
    this.reader.wake(historyIds);
  }

  onGap(): void {
    this.reader.wake();
  }

  // --- from the log to the bus -------------------------------------------------------------------------------------

  private onRead(
    changes: readonly HistoryChange[],
    { position, moment, auditRows = changes.length }: LogEnd & { auditRows?: number },
  ): void {
    this.reads += 1;
    this.source.onRead?.(auditRows);
    this.checkpoints.push({ read: this.reads, position, moment, at: this.options.clock.monotonic() });
    if (changes.length > 0) this.changedSinceStored = true;
    this.keep(changes, this.reads);
  }

  private keep(changes: readonly HistoryChange[], read: number): void {
    if (changes.length === 0) return;
    const { clock, metrics } = this.options;
    metrics.increment('galaxy.sse.changes.seen', changes.length);
    const now = clock.monotonic();
    for (const change of changes) this.coalescer.add(change, read, now);
    this.scheduleFlush();
  }

  private scheduleFlush(): void {
    if (this.flushing || this.over.signal.aborted) return;
    const due = this.coalescer.nextDue();
    if (due === undefined) return;
    clearTimeout(this.flushTimer);
    const wait = due - this.options.clock.monotonic();
    if (wait > 0) this.flushTimer = setTimeout(() => this.scheduleFlush(), Math.ceil(wait));
    else {
      this.flushing = this.flush().finally(() => {
        this.flushing = undefined;
        this.scheduleFlush();
      });
    }
  }

  private async flush(): Promise<void> {
    const { bus, clock } = this.options;
    const { changes, read } = this.coalescer.take(clock.monotonic(), FLUSH_LIMIT);
    this.inFlight = read;
    try {
      await Promise.all(toTasks(changes).map((task) => bus.publish(task)));
    } catch (error) {
      this.fallBack(error);
    } finally {
      this.inFlight = Number.POSITIVE_INFINITY;
    }
  }

  /** Nothing that could not be published is kept: the log has it, behind the position that was confirmed. */
  private fallBack(error: unknown): void {
    if (this.over.signal.aborted) return;
    if (this.reader.state === 'following') {
      this.options.logger.warn(
        { err: error },
        'publishing failed: the log is read again from the confirmed position',
      );
    }
    this.moveConfirmed();
    this.coalescer.clear();
    this.checkpoints.length = 0;
    this.reader.restart('publish_failed', this.confirmed?.position);
  }

  // --- ticks -------------------------------------------------------------------------------------------------------

  private async run(): Promise<void> {
    const { clock } = this.options;
    const { signal } = this.over;
    for (let round = 0; !signal.aborted; round += 1) {
      this.reader.readAfter(this.hearing ? READ_ANYWAY_MS : READ_BLIND_MS);
      const andStore = round % TICKS_PER_BARRIER === 0;
      if ((andStore || !this.hearing) && this.source.name !== POLL && round !== 0) void this.askSource();
      await this.tick(andStore);
      // The first one follows the first read: until then nobody knows a position.
      const first = this.sequence === 0 && round < 20;
      await sleep(first ? 50 : msUntilAligned(TICK_MS, clock), signal).catch(() => {});
    }
  }

  /** However long publishing takes, each second says what is confirmed by then. */
  private async tick(andStore: boolean): Promise<void> {
    const { bus, positions, leaderName, logger, metrics, clock } = this.options;
    try {
      const confirmed = this.moveConfirmed();
      if (confirmed === undefined || this.over.signal.aborted) return;
      metrics.gauge('galaxy.sse.monitor.cursor_age_ms', clock.monotonic() - confirmed.at);
      if (andStore || this.stored === undefined) await this.store(confirmed);
      if (this.stored === undefined || !bus.available || this.over.signal.aborted) return;
      const until = Math.min(confirmed.moment, this.stored.moment + FURTHEST_AHEAD);
      this.ticked = Math.max(this.ticked, until);
      this.sequence += 1;
      await bus.publishTick({
        leader: leaderName,
        sequence: this.sequence,
        until,
        ...(positions.keeps && { position: this.stored.position }),
      });
      this.confirmedAt = clock.monotonic();
    } catch (error) {
      if (!this.over.signal.aborted) {
        logger.debug({ err: error }, 'no tick this second: the bus did not answer');
      }
    }
  }

  private moveConfirmed(): Checkpoint | undefined {
    const oldest = Math.min(this.inFlight, this.coalescer.oldestRead());
    while (this.checkpoints.length > 0 && this.checkpoints[0]!.read < oldest) {
      this.confirmed = this.checkpoints.shift();
    }
    return this.confirmed;
  }

  private async store({ position, moment }: Checkpoint): Promise<void> {
    const before = this.stored ?? this.reader.found;
    // A leader before may have ticked as far as that.
    if (this.stored === undefined && before) this.ticked = before.moment + FURTHEST_AHEAD;
    const isAgain = before !== undefined && moment < this.ticked && this.tickedStored < this.ticked;
    const isOld = moment - (this.stored?.moment ?? 0) >= STORE_ANYWAY;
    const changed = this.changedSinceStored;
    const isDue = isOld || (isAgain && moment < this.ticked - SMALLEST_STEP);
    if (!isDue && (!changed || position === this.stored?.position)) return;
    this.changedSinceStored = this.checkpoints.length > 0;
    const { positions } = this.options;
    try {
      // The clock was set back: who was given one of these moments stands at the position of before.
      if (isAgain) await inTime(positions.add({ position: before.position, moment: this.ticked }));
      await inTime(positions.add({ position, moment }));
      if (isAgain) this.tickedStored = this.ticked;
      this.stored = { position, moment };
    } catch (error) {
      this.changedSinceStored ||= changed;
      this.options.logger.debug({ err: error }, 'the position is not stored: the database did not answer');
    }
  }

  /**
   * Everything committed before the moment that a barrier gives was announced before it: where nothing is left to be read
   * then, that moment is reached without a read. The question is also what finds a silent LISTEN connection.
   */
  private async askSource(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    const { reader } = this;
    try {
      const moment = await this.source.barrier();
      this.hearing = true;
      if (!reader.idle || reader.position === undefined || this.over.signal.aborted) return;
      this.reads += 1;
      const at = this.options.clock.monotonic();
      this.checkpoints.push({ read: this.reads, position: reader.position, moment, at });
    } catch (error) {
      this.hearing = false;
      this.options.logger.debug(
        { err: error },
        'the source of hints does not answer; the log is read each second',
      );
    } finally {
      this.asking = false;
    }
  }
}
