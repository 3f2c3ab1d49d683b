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
  private again: string | undefined;

  constructor(private readonly parts: GapRepairParts) {}

  /** Starts a repair, or has the running one go round once more. Never rejects. */
  request(cause: string): void {
    this.parts.metrics.increment('galaxy.sse.gap.count', 1, { cause });
    if (this.running) {
      this.again = cause;
      return;
    }
    void this.run(cause);
  }

  stop(): void {
    this.abort.abort();
  }

  private async run(firstCause: string): Promise<void> {
    const { logger, watermark } = this.parts;
    this.running = true;
    const release = watermark.hold();
    const backoff = new Backoff(50, 1000);
    let cause: string | undefined = firstCause;
    let complained = false;
    while (cause !== undefined && !this.abort.signal.aborted) {
      this.again = undefined;
      try {
        const tasks = await this.deliverMissed();
        logger.info({ cause, tasks }, 'gap repaired: changes since the watermark were read and delivered');
        cause = this.again;
        backoff.reset();
        complained = false;
      } catch (error) {
        if (!complained) {
          logger.warn(
            { cause, err: error },
            'gap not repaired yet: the database cannot be read; trying again until it can',
          );
        }
        complained = true;
        await sleep(backoff.next(), this.abort.signal).catch(() => {});
      }
    }
    release();
    this.running = false;
  }

  private async deliverMissed(): Promise<number> {
    const { kinds, sources, dispatcher, watermark, databaseClock, overlapMicros } = this.parts;
    // Had the clock stepped back in the gap, what was committed since would lie before the watermark.
    await databaseClock.check();
    const since = watermark.cursor - overlapMicros;
    const missed = await Promise.all(
      kinds.events.map(({ repair }) => (repair === 'never' ? [] : repair(sources, since))),
    );
    const tasks = missed.flat();
    for (const task of tasks) dispatcher.run(task);
    return tasks.length;
  }
}
