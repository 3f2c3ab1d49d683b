/**
 * From what was read to the bus, and how far the bus has confirmed it.
 *
 * ```
 *   idle ──a change──► waiting ──one is due──► publishing ──► waiting, or idle where nothing is left
 *                                                   └─failed─► idle: nothing is kept, the log has it behind `confirmed`
 *   any ──stop──► stopped
 * ```
 */
import type { Publisher } from '../bus/port.js';
import type { HistoryChange } from '../core/events.js';
import { toTasks } from '../core/history-tasks.js';
import type { LogEnd } from '../database/port.js';
import type { Clock } from '../lib/clock.js';
import type { Metrics } from '../telemetry/metrics.js';
import { Coalescer } from './coalescer.js';

/** Maximum number of histories per control task and flush. */
const FLUSH_LIMIT = 1_000;
/** The read number of changes that were looked up outside the log: no read waits for their confirmation. */
const NO_READ = Number.POSITIVE_INFINITY;

/** One read of the log: the reads up to this one contain all changes up to `moment`. */
export interface Checkpoint extends LogEnd {
  read: number;
  /** By the clock of this process. */
  at: number;
}

export interface ChangePublisherOptions {
  bus: Pick<Publisher, 'publish'>;
  debounceMs: number;
  clock: Clock;
  metrics: Metrics;
  /** The queue is empty then. The caller reads the log again from `confirmed`. */
  onFailed: (error: unknown) => void;
}

export class ChangePublisher {
  state: 'idle' | 'waiting' | 'publishing' | 'stopped' = 'idle';
  private readonly coalescer: Coalescer;
  private readonly checkpoints: Checkpoint[] = [];
  private reads = 0;
  /** The number of the oldest read that is being published. */
  private inFlight = NO_READ;
  private newest: Checkpoint | undefined;
  private timer: NodeJS.Timeout | undefined;
  private publishing: Promise<void> = Promise.resolve();

  constructor(private readonly options: ChangePublisherOptions) {
    this.coalescer = new Coalescer(options.debounceMs);
  }

  /** The newest read up to which everything is confirmed; undefined if there is none. */
  get confirmed(): Checkpoint | undefined {
    const oldest = Math.min(this.inFlight, this.coalescer.oldestRead());
    while (this.checkpoints.length > 0 && this.checkpoints[0]!.read < oldest) {
      this.newest = this.checkpoints.shift();
    }
    return this.newest;
  }

  /** Whether some read is not confirmed yet. */
  get hasUnconfirmed(): boolean {
    return this.checkpoints.length > 0;
  }

  /** Adds the result of a read, in the order of reads, with the end of the log at that time. */
  addRead(changes: readonly HistoryChange[], { position, moment }: LogEnd): void {
    this.reads += 1;
    this.checkpoints.push({ read: this.reads, position, moment, at: this.options.clock.monotonic() });
    this.add(changes, this.reads);
  }

  /** Adds changes named by hints, while the log cannot be read. */
  addLookedUp(changes: readonly HistoryChange[]): void {
    this.add(changes, NO_READ);
  }

  private add(changes: readonly HistoryChange[], read: number): void {
    if (changes.length === 0) return;
    const { clock, metrics } = this.options;
    metrics.increment('galaxy.sse.changes.seen', changes.length);
    const now = clock.monotonic();
    for (const change of changes) this.coalescer.add(change, read, now);
    this.schedule();
  }

  private schedule(): void {
    if (this.state === 'publishing' || this.state === 'stopped') return;
    clearTimeout(this.timer);
    const due = this.coalescer.nextDue();
    this.state = due === undefined ? 'idle' : 'waiting';
    if (due === undefined) return;
    const waitMs = due - this.options.clock.monotonic();
    if (waitMs > 0) this.timer = setTimeout(() => this.schedule(), Math.ceil(waitMs));
    else this.publishing = this.publish();
  }

  private async publish(): Promise<void> {
    this.state = 'publishing';
    const { changes, read } = this.coalescer.take(this.options.clock.monotonic(), FLUSH_LIMIT);
    this.inFlight = read;
    try {
      await Promise.all(toTasks(changes).map((task) => this.options.bus.publish(task)));
    } catch (error) {
      if (!this.isStopped) this.fail(error);
    }
    if (this.isStopped) return;
    this.inFlight = NO_READ;
    this.state = 'idle';
    this.schedule();
  }

  /** First updates `confirmed`, while the failed reads still count as in flight. */
  private fail(error: unknown): void {
    void this.confirmed;
    this.coalescer.clear();
    this.checkpoints.length = 0;
    this.options.onFailed(error);
  }

  private get isStopped(): boolean {
    return this.state === 'stopped';
  }

  /** Resolves when no publish is in flight. */
  stop(): Promise<void> {
    this.state = 'stopped';
    clearTimeout(this.timer);
    return this.publishing;
  }
}
