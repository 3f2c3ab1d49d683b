/**
 * After a gap (the bus was away, a tick was lost, this process was frozen) the worker reads the changes since its
 * watermark and delivers them to its own tabs as if they had been received. Until that is done the watermark stands still.
 */
import { Backoff } from '../core/backoff.js';
import { sleep } from '../core/lifecycle.js';
import type { Sources } from '../events/kind.js';
import type { EventRegistry } from '../events/registry.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { DatabaseClock } from './database-clock.js';
import type { Dispatcher } from './dispatcher.js';
import type { Watermark } from './watermark.js';

/** Between two repairs: whoever replays old ticks brings about one read a second, and ids go on. */
const PAUSE_MS = 1_000;

export interface GapRepairParts {
  kinds: EventRegistry;
  sources: Sources;
  dispatcher: Dispatcher;
  watermark: Watermark;
  databaseClock: DatabaseClock;
  overlapMicros: number;
  logger: Logger;
  metrics: Metrics;
}

export class GapRepair {
  private readonly abort = new AbortController();
  private running = false;
  /** Why a repair is wanted that has not begun. */
  private wanted: string | undefined;
  /** Lets the watermark go on. */
  private release: (() => void) | undefined;

  constructor(private readonly parts: GapRepairParts) {}

  /** Starts a repair, or has the running one go round once more. Never rejects. */
  request(cause: string): void {
    this.parts.metrics.increment('galaxy.sse.gap.count', 1, { cause });
    this.wanted = cause;
    this.release ??= this.parts.watermark.hold();
    if (!this.running) void this.run();
  }

  stop(): void {
    this.abort.abort();
  }

  private async run(): Promise<void> {
    const { logger } = this.parts;
    const { signal } = this.abort;
    this.running = true;
    const backoff = new Backoff(50, 1000);
    let complained = false;
    while (this.wanted !== undefined && !signal.aborted) {
      const cause = this.wanted;
      this.wanted = undefined;
      try {
        const tasks = await this.deliverMissed();
        logger.info({ cause, tasks }, 'gap repaired: changes since the watermark were read and delivered');
        if (this.wanted === undefined) this.goOn();
        backoff.reset();
        complained = false;
        await sleep(PAUSE_MS, signal).catch(() => {});
      } catch (error) {
        this.wanted ??= cause;
        if (!complained) {
          logger.warn(
            { cause, err: error },
            'gap not repaired yet: the database cannot be read; trying again until it can',
          );
        }
        complained = true;
        await sleep(backoff.next(), signal).catch(() => {});
      }
    }
    if (signal.aborted) this.goOn();
    this.running = false;
  }

  private goOn(): void {
    this.release?.();
    this.release = undefined;
  }

  private async deliverMissed(): Promise<number> {
    const { kinds, sources, dispatcher, watermark, databaseClock, overlapMicros } = this.parts;
    // Had the clock stepped back in the gap, what was committed since would lie before the watermark.
    await databaseClock.check();
    const since = watermark.cursor - overlapMicros;
    // The read that begins now finds what the tasks before this tick said.
    const { heldBack } = watermark;
    const missed = await Promise.all(
      kinds.events.map(({ repair }) => (repair === 'never' ? [] : repair(sources, since))),
    );
    const tasks = missed.flat();
    for (const task of tasks) dispatcher.run(task);
    watermark.reach(heldBack);
    return tasks.length;
  }
}
