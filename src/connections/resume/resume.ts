/**
 * Catches one tab up from its cursor. During the catch-up, new events for the tab wait in its queue. Then missed events
 * go out, the waiting ones follow, and the tab is live, so none is lost in between.
 */

import type { Cursor, HistoryId } from '../../core/events.js';
import { EventId } from '../../events/frame.js';
import { sinceToken } from '../../events/since.js';
import { Backoff } from '../../lib/backoff.js';
import { NotWanted } from '../../lib/batcher.js';
import { sleep } from '../../lib/lifecycle.js';
import type { ThrottledLogger } from '../../telemetry/throttled-logger.js';
import type { ViewerRegistry } from '../routing/viewers.js';
import type { Tab } from '../tabs/tab.js';
import type { TabWriter } from '../writing/tab-writer.js';
import { type CatchUp, type CatchUpCause, catchUpFrames } from './catch-up.js';
import type { DatabaseClock } from './database-clock.js';
import type { Positions } from './positions.js';
import type { Watermark } from './watermark.js';

export interface ResumeOptions {
  catchUp: CatchUp;
  writer: TabWriter;
  viewers: ViewerRegistry;
  watermark: Watermark;
  positions: Pick<Positions, 'ofId'>;
  databaseClock: DatabaseClock;
  encodeId: (id: HistoryId) => string;
  /** Throttled, because thousands of tabs may fail at once while the database is unavailable. */
  throttledLogger: ThrottledLogger;
}

export class Resume {
  private readonly running = new WeakSet<Tab>();

  constructor(private readonly options: ResumeOptions) {}

  /**
   * Resolves when the tab is live or closed. Retries while the database does not answer.
   * @param signal aborted when the worker stops; the tab then stays as it is
   */
  async run(tab: Tab, since: Cursor, cause: CatchUpCause, signal: AbortSignal): Promise<void> {
    // It repeats for a tab that lags meanwhile. A second run would let the first one write what it read too early.
    if (this.running.has(tab)) return;
    this.running.add(tab);
    await this.repeat(tab, since, cause, signal);
  }

  private async repeat(tab: Tab, since: Cursor, cause: CatchUpCause, signal: AbortSignal): Promise<void> {
    const { catchUp, writer, watermark, positions, databaseClock, encodeId, throttledLogger } = this.options;
    const backoff = new Backoff(100, 2000);
    const isOpen = (): boolean => !isClosed(tab);
    try {
      while (!isClosed(tab) && !signal.aborted) {
        tab.state = 'catching_up';
        writer.discard(tab, 'caught_up');
        const reached = watermark.eventId;
        try {
          const from = databaseClock.judge(since);
          const missed = await catchUp.missed(tab.principal, this.viewedBy(tab), from, cause, isOpen);
          // The queue overflowed meanwhile and the tab became `lagging`: repeat from the same cursor.
          if (tab.state !== 'catching_up') continue;
          const known = positions.ofId(from);
          const token = known ? sinceToken(known, from) : known;
          const frames = catchUpFrames(missed, new EventId(since), reached, encodeId, token);
          writer.writeCatchUp(tab, frames);
          return;
        } catch (error) {
          if (error instanceof NotWanted) return;
          throttledLogger.warn({ err: error }, 'catch-up of a tab failed: retrying');
          await sleep(backoff.next(), signal).catch(() => {});
        }
      }
    } finally {
      // In the same turn in which the tab becomes live: a start over that follows at once is a new run.
      this.running.delete(tab);
    }
  }

  /** Histories of other owners that this tab, its user or its session views. */
  private viewedBy(tab: Tab): HistoryId[] {
    const { viewers } = this.options;
    if (viewers.size === 0) return [];
    const { userId, sessionId } = tab.principal;
    return [
      ...new Set([
        ...viewers.of({ tab }),
        ...(userId === undefined ? [] : viewers.of({ userId })),
        ...(sessionId === undefined ? [] : viewers.of({ sessionId })),
      ]),
    ];
  }
}

// A function, because the compiler assumes that a state does not change during an `await`.
const isClosed = (tab: Tab): boolean => tab.state === 'closed';
