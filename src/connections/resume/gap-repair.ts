/**
 * Repairs a gap (the bus was disconnected, a tick was lost, this process was frozen): the worker reads the changes
 * since its watermark and delivers them to its tabs like received tasks. Until then the watermark does not move.
 */

import type { Task } from '../../core/events.js';
import type { Sources } from '../../events/kind.js';
import type { EventRegistry } from '../../events/registry.js';
import { Backoff } from '../../lib/backoff.js';
import { sleep } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Metrics, TagsOf } from '../../telemetry/metrics.js';
import type { SkippedRows } from '../../telemetry/skipped-rows.js';
import type { Dispatcher } from '../routing/dispatcher.js';
import type { DatabaseClock } from './database-clock.js';
import type { Positions } from './positions.js';
import type { Watermark } from './watermark.js';

/** Pause between two repairs, so that replayed ticks cause at most one read a second, and ids advance meanwhile. */
const PAUSE_MS = 1_000;

export interface GapRepairOptions {
  kinds: EventRegistry;
  sources: Sources;
  dispatcher: Dispatcher;
  watermark: Watermark;
  positions: Pick<Positions, 'floor'>;
  /** Reads the moments that were sent meanwhile. */
  readPositions: () => Promise<void>;
  databaseClock: DatabaseClock;
  skippedRows: SkippedRows;
  logger: Logger;
  metrics: Metrics;
}

type RepairCause = TagsOf<'galaxy.sse.gap.count'>['cause'];
type RepairedKind = EventRegistry['events'][number];

export class GapRepair {
  private readonly abort = new AbortController();
  private running = false;
  /** The cause of a requested repair that has not started. */
  private wanted: RepairCause | undefined;
  /** Releases the watermark. */
  private release: (() => void) | undefined;

  constructor(private readonly options: GapRepairOptions) {}

  /** Starts a repair, or makes the running one repeat. Never rejects. */
  request(cause: RepairCause): void {
    this.options.metrics.increment('galaxy.sse.gap.count', 1, { cause });
    this.wanted = cause;
    this.release ??= this.options.watermark.hold();
    if (!this.running) void this.run();
  }

  stop(): void {
    this.abort.abort();
  }

  private async run(): Promise<void> {
    const { logger, metrics } = this.options;
    const { signal } = this.abort;
    this.running = true;
    const backoff = new Backoff(50, 1000);
    let missing = new Set<RepairedKind>();
    let heldBack = 0;
    let cause = '';
    let reported = false;
    while ((this.wanted !== undefined || missing.size > 0) && !signal.aborted) {
      if (this.wanted !== undefined) {
        // Earlier reads prove nothing about this gap.
        cause = this.wanted;
        this.wanted = undefined;
        missing = this.everything();
        // The reads from now on cover everything published before this tick.
        heldBack = this.options.watermark.heldBack;
      }
      try {
        const tasks = await this.deliver(missing);
        metrics.increment('galaxy.sse.gap.repaired', 1);
        logger.info({ cause, tasks }, 'gap repaired: changes since the watermark were read and delivered');
        if (this.wanted === undefined) this.goOn();
        // Events withheld from a tab with an unchecked permission must stay ahead of every cursor.
        else if (this.options.dispatcher.muted.size === 0) this.options.watermark.reach(heldBack);
        backoff.reset();
        reported = false;
        await sleep(PAUSE_MS, signal).catch(() => {});
      } catch (error) {
        if (!reported) {
          logger.warn(
            { cause, missing: [...missing].map(({ event }) => event), err: error },
            'gap not repaired yet: the database cannot be read, retrying until it can',
          );
        }
        reported = true;
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

  private everything(): Set<RepairedKind> {
    return new Set(this.options.kinds.events.filter(({ repair }) => repair !== 'never'));
  }

  /** Repairs each kind separately: delivers what can be read at once, and removes that kind from `missing`. */
  private async deliver(missing: Set<RepairedKind>): Promise<number> {
    const { sources, watermark, positions, databaseClock, skippedRows } = this.options;
    // If the clock had stepped back in the gap, newer commits would lie before the watermark.
    await databaseClock.check();
    await this.options.readPositions();
    const since = { floor: positions.floor(watermark.cursor), position: watermark.eventId.log };
    let delivered = 0;
    const attempts = [...missing].map(async (kind) => {
      if (kind.repair === 'never') return;
      const tasks = await skippedRows.unlessBroken(kind.event, kind.repair(sources, since), []);
      for (const task of tasks) this.dispatch(task);
      delivered += tasks.length;
      missing.delete(kind);
    });
    const failed = (await Promise.allSettled(attempts)).find(({ status }) => status === 'rejected');
    if (failed) throw (failed as PromiseRejectedResult).reason;
    return delivered;
  }

  /** A task that fails here would fail again. It must not block the others and the ids. */
  private dispatch(task: Task): void {
    try {
      this.options.dispatcher.run(task);
    } catch (error) {
      this.options.logger.error(
        { task: task.task, err: error },
        'change read for a gap not delivered: please report this error',
      );
    }
  }
}
