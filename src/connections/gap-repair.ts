/**
 * After a gap (the bus was away, a tick was lost, this process was frozen) the worker reads the changes since its
 * watermark and delivers them to its own tabs as if they had been received. Until that is done the watermark stands still.
 */
import { Backoff } from '../core/backoff.js';
import type { Cursor } from '../core/events.js';
import { sleep } from '../core/lifecycle.js';
import { toTasks } from '../core/tasks.js';
import type { ChangeLog, NotificationLog } from '../database/port.js';
import type { LeftOut } from '../telemetry/left-out.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { DatabaseClock } from './database-clock.js';
import type { Dispatcher } from './dispatcher.js';
import type { Watermark } from './watermark.js';

/** By the tables that they are read from. */
const PARTS = ['history_audit', 'interactivetool_entry_point', 'notification'] as const;
type Part = (typeof PARTS)[number];

export interface GapRepairParts {
  changeLog: ChangeLog;
  /** Undefined where the notification system is off. */
  notifications: NotificationLog | undefined;
  dispatcher: Dispatcher;
  watermark: Watermark;
  databaseClock: DatabaseClock;
  overlapMicros: number;
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
    let missing = new Set(PARTS);
    let complained = false;
    while (cause !== undefined && !this.abort.signal.aborted) {
      this.again = undefined;
      try {
        await this.deliver(missing);
        logger.info({ cause }, 'gap repaired: changes since the watermark were read and delivered');
        cause = undefined;
      } catch (error) {
        if (!complained) {
          logger.warn(
            { cause, missing: [...missing], err: error },
            'gap not repaired yet: the database cannot be read; trying again until it can',
          );
        }
        complained = true;
        await sleep(backoff.next(), this.abort.signal).catch(() => {});
      }
      if (this.again === undefined) continue;
      // What was read before this gap says nothing of it.
      cause = this.again;
      missing = new Set(PARTS);
    }
    release();
    this.running = false;
  }

  /** Each part for itself: what can be read is delivered at once, and is not `missing` any more. */
  private async deliver(missing: Set<Part>): Promise<void> {
    const { watermark, databaseClock, overlapMicros } = this.parts;
    // Had the clock stepped back in the gap, what was committed since would lie before the watermark.
    await databaseClock.check();
    const floor = watermark.cursor - overlapMicros;
    const attempts = [...missing].map(async (part) => {
      await this.deliverPart(part, floor);
      missing.delete(part);
    });
    const failed = (await Promise.allSettled(attempts)).find(({ status }) => status === 'rejected');
    if (failed) throw (failed as PromiseRejectedResult).reason;
  }

  private async deliverPart(part: Part, floor: Cursor): Promise<void> {
    const { changeLog, notifications, dispatcher, leftOut } = this.parts;
    switch (part) {
      case 'history_audit':
        for (const task of toTasks(await changeLog.changesSince(floor, { kind: 'all' })))
          dispatcher.historyUpdate(task);
        return;
      case 'interactivetool_entry_point': {
        const read = changeLog.entryPointOwnersSince(floor, { kind: 'all' });
        const changed = await leftOut.unlessBroken(part, read, { userIds: [], sessionIds: [] });
        for (const userId of changed.userIds)
          dispatcher.entryPointUpdate({ task: 'entry_point_update', userId });
        for (const sessionId of changed.sessionIds)
          dispatcher.entryPointUpdate({ task: 'entry_point_update', sessionId });
        return;
      }
      case 'notification': {
        if (!notifications) return;
        const messages = await leftOut.unlessBroken(part, notifications.notificationsSince(floor), []);
        for (const { payload, userIds } of messages)
          dispatcher.notifyUsers({ task: 'notify_users', userIds, payload });
        const broadcasts = await leftOut.unlessBroken(part, notifications.broadcastsSince(floor), []);
        for (const { payload } of broadcasts) dispatcher.broadcast(payload);
      }
    }
  }
}
