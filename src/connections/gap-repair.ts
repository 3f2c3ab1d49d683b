/**
 * After a gap (the bus was away, a tick was lost, this process was frozen) the worker reads the changes since its
 * watermark and delivers them to its own tabs as if they had been received. Until that is done the watermark stands still.
 */
import { Backoff } from '../core/backoff.js';
import { sleep } from '../core/lifecycle.js';
import { MARGIN, type Sources } from '../events/kind.js';
import type { EventRegistry } from '../events/registry.js';
import type { LeftOut } from '../telemetry/left-out.js';
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
  leftOut: LeftOut;
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
    let missing = this.everything();
    let complained = false;
    while (cause !== undefined && !this.abort.signal.aborted) {
      this.again = undefined;
      try {
        const tasks = await this.deliver(missing);
        logger.info({ cause, tasks }, 'gap repaired: changes since the watermark were read and delivered');
        cause = undefined;
        backoff.reset();
        complained = false;
      } catch (error) {
        if (!complained) {
          logger.warn(
            { cause, missing: [...missing].map(({ event }) => event), err: error },
            'gap not repaired yet: the database cannot be read; trying again until it can',
          );
        }
        complained = true;
        await sleep(backoff.next(), this.abort.signal).catch(() => {});
      }
      if (this.again === undefined) continue;
      // What was read before this gap says nothing of it.
      cause = this.again;
      missing = this.everything();
    }
    release();
    this.running = false;
  }

  private everything(): Set<EventRegistry['events'][number]> {
    return new Set(this.parts.kinds.events.filter(({ repair }) => repair !== 'never'));
  }

  /** Each kind for itself: what can be read is delivered at once, and is not `missing` any more. */
  private async deliver(missing: Set<EventRegistry['events'][number]>): Promise<number> {
    const { sources, dispatcher, watermark, databaseClock, leftOut } = this.parts;
    // Had the clock stepped back in the gap, what was committed since would lie before the watermark.
    await databaseClock.check();
    const since = { floor: watermark.cursor - MARGIN, position: watermark.position.log };
    let delivered = 0;
    const attempts = [...missing].map(async (kind) => {
      if (kind.repair === 'never') return;
      const tasks = await leftOut.unlessBroken(kind.event, kind.repair(sources, since), []);
      for (const task of tasks) dispatcher.run(task);
      delivered += tasks.length;
      missing.delete(kind);
    });
    const failed = (await Promise.allSettled(attempts)).find(({ status }) => status === 'rejected');
    if (failed) throw (failed as PromiseRejectedResult).reason;
    return delivered;
  }
}
