/**
 * One term of the monitor, between gaining and losing the role: a reader, a publisher, and one tick per second. See the
 * picture in `history-audit-monitor.ts`.
 */
import type { Publisher } from '../bus/port.js';
import type { Cursor, HistoryId } from '../core/events.js';
import type { ChangeLog, HintListener, HintSource, PositionStore } from '../database/port.js';
import { msUntilAligned } from '../lib/aligned-interval.js';
import type { Clock } from '../lib/clock.js';
import { sleep } from '../lib/lifecycle.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import { ChangePublisher } from './change-publisher.js';
import { CAUSES, LogReader } from './log-reader.js';
import { PositionKeeper } from './position-keeper.js';

const TICK_MS = 1_000;
/**
 * Every second tick carries a new moment. With heartbeats and the lock this keeps an idle leader below one statement a
 * second.
 */
const TICKS_PER_BARRIER = 2;
/** Interval of reads without a hint, because hints may be lost; shorter while the source is silent. */
const READ_ANYWAY_MS = { heard: 30_000, silent: 1_000 };

/** Name of the source that has no change notifications. */
const POLL = 'poll';

export interface TermOptions {
  changeLog: ChangeLog;
  positions: PositionStore;
  bus: Publisher;
  /** Creates a new hint source, which is started and stopped with the role. */
  createHintSource: (listener: HintListener) => HintSource;
  /** The name of this process's ticks: server name and start. Each term appends its number. */
  leaderName: string;
  debounceMs: number;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

/** One term; everything in it ends with it. */
export class Term implements HintListener {
  /** When the broker last confirmed a tick, by the monotonic clock. */
  confirmedAt: number | undefined;
  private readonly source: HintSource;
  private readonly reader: LogReader;
  private readonly publisher: ChangePublisher;
  private readonly keeper: PositionKeeper;
  private readonly over = new AbortController();
  /** Whether the last barrier was answered. */
  private hints: 'heard' | 'silent' = 'heard';
  /** The pending barrier. */
  private asking: Promise<void> | undefined;
  private sequence = 0;
  private removeBusListener: () => void = () => {};

  constructor(private readonly options: TermOptions) {
    const { changeLog, positions, bus, clock, logger, metrics, debounceMs } = options;
    this.keeper = new PositionKeeper(positions, logger);
    this.source = options.createHintSource(this);
    this.publisher = new ChangePublisher({
      bus,
      debounceMs,
      clock,
      metrics,
      onFailed: (error) => this.readAgain(error),
    });
    this.reader = new LogReader(
      {
        changeLog,
        positions,
        canPublish: () => bus.available,
        onRead: (changes, end) => {
          this.source.onRead?.(end.auditRows ?? changes.length);
          if (changes.length > 0) this.keeper.onChanges();
          this.publisher.addRead(changes, end);
        },
        onLookedUp: (changes) => this.publisher.addLookedUp(changes),
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

  /** Everything up to here is published; undefined if unknown. */
  get cursor(): Cursor | undefined {
    return this.publisher.confirmed?.moment;
  }

  get cursorAgeMs(): number | undefined {
    const { confirmed } = this.publisher;
    return confirmed && Math.round(this.options.clock.monotonic() - confirmed.at);
  }

  /** One line about what delays publishing, or undefined. */
  get behind(): string | undefined {
    const { state, cause, failure } = this.reader;
    if (state === 'following') return undefined;
    const why = cause === undefined ? state : CAUSES[cause];
    return failure === undefined ? why : `${why}; the last read failed: ${failure}`;
  }

  async start(): Promise<void> {
    this.removeBusListener = this.options.bus.onAvailable(() => this.reader.wake());
    await this.source.start(this.over.signal);
    void this.reader.run();
    void this.run();
  }

  async stop(): Promise<void> {
    this.over.abort();
    const published = this.publisher.stop();
    this.removeBusListener();
    await this.source.stop();
    await published;
  }

  // --- hints -------------------------------------------------------------------------------------------------------

  onHistories(historyIds: readonly HistoryId[]): void {
    this.reader.wake(historyIds);
  }

  onGap(): void {
    this.reader.wake();
  }

  /**
   * The source announced everything committed before the moment of a barrier. So if nothing is left to read, the cursor
   * reaches that moment without a read. The barrier also detects a silent LISTEN connection.
   */
  private async askSource(): Promise<void> {
    const { reader } = this;
    try {
      const moment = await this.source.barrier();
      this.hints = 'heard';
      if (!reader.idle || reader.position === undefined || this.over.signal.aborted) return;
      this.publisher.addRead([], { position: reader.position, moment });
    } catch (error) {
      this.hints = 'silent';
      this.options.logger.debug({ err: error }, 'hint source does not answer: the log is read every second');
    }
  }

  private readAgain(error: unknown): void {
    if (this.reader.state === 'following') {
      this.options.logger.warn(
        { err: error },
        'publishing failed: the log is read again from the confirmed position',
      );
    }
    this.reader.restart('publish_failed', this.publisher.confirmed?.position);
  }

  // --- ticks -------------------------------------------------------------------------------------------------------

  private async run(): Promise<void> {
    const { clock } = this.options;
    const { signal } = this.over;
    for (let round = 0; !signal.aborted; round += 1) {
      this.reader.readAfter(READ_ANYWAY_MS[this.hints]);
      const andStore = round % TICKS_PER_BARRIER === 0;
      if ((andStore || this.hints === 'silent') && this.source.name !== POLL && round !== 0) {
        this.asking ??= this.askSource().finally(() => {
          this.asking = undefined;
        });
      }
      await this.tick(andStore);
      // The first barrier follows the first read, because no position is known before.
      const first = this.sequence === 0 && round < 20;
      await sleep(first ? 50 : msUntilAligned(TICK_MS, clock), signal).catch(() => {});
    }
  }

  /** However long publishing takes, each tick reports what is confirmed by then. */
  private async tick(andStore: boolean): Promise<void> {
    const { keeper, publisher, reader } = this;
    const { bus, positions, leaderName, logger, metrics, clock } = this.options;
    const { signal } = this.over;
    try {
      const { confirmed } = publisher;
      if (confirmed === undefined || signal.aborted) return;
      metrics.gauge('galaxy.sse.monitor.cursor_age_ms', this.cursorAgeMs ?? 0);
      if (andStore || keeper.stored === undefined) {
        await keeper.store(confirmed, reader.found, publisher.hasUnconfirmed);
      }
      if (!bus.available || signal.aborted) return;
      const until = keeper.tickMoment(confirmed);
      if (until === undefined) return;
      this.sequence += 1;
      await bus.publishTick({
        leader: leaderName,
        sequence: this.sequence,
        until,
        ...(positions.keeps && { position: keeper.stored!.position }),
      });
      this.confirmedAt = clock.monotonic();
    } catch (error) {
      if (!signal.aborted) logger.debug({ err: error }, 'no tick this second: the bus did not answer');
    }
  }
}
