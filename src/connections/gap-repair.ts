/**
 * After a gap (the bus was away, a tick was lost, this process was frozen) the worker reads the changes since its
 * watermark and delivers them to its own tabs as if they had been received. Until that is done the watermark stands still.
 */
import { Backoff } from '../core/backoff.js';
import { sleep } from '../core/lifecycle.js';
import { toTasks } from '../core/tasks.js';
import type { ChangeLog, NotificationLog } from '../database/port.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { DatabaseClock } from './database-clock.js';
import type { Dispatcher } from './dispatcher.js';
import type { Watermark } from './watermark.js';

export interface GapRepairParts {
  changeLog: ChangeLog;
  /** Undefined where the notification system is off. */
  notifications: NotificationLog | undefined;
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
        const histories = await this.deliverMissed();
        logger.info(
          { cause, histories },
          'gap repaired: changes since the watermark were read and delivered',
        );
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
    const { changeLog, notifications, dispatcher, watermark, databaseClock, overlapMicros } = this.parts;
    // Had the clock stepped back in the gap, what was committed since would lie before the watermark.
    await databaseClock.check();
    const floor = watermark.cursor - overlapMicros;
    const [changes, entryPoints, messages, broadcasts] = await Promise.all([
      changeLog.changesSince(floor, { kind: 'all' }),
      changeLog.entryPointOwnersSince(floor, { kind: 'all' }),
      notifications?.notificationsSince(floor) ?? [],
      notifications?.broadcastsSince(floor) ?? [],
    ]);
    for (const task of toTasks(changes)) dispatcher.historyUpdate(task);
    for (const userId of entryPoints.userIds)
      dispatcher.entryPointUpdate({ task: 'entry_point_update', userId });
    for (const sessionId of entryPoints.sessionIds) {
      dispatcher.entryPointUpdate({ task: 'entry_point_update', sessionId });
    }
    for (const { payload, userIds } of messages) {
      dispatcher.notifyUsers({ task: 'notify_users', userIds, payload });
    }
    for (const { payload } of broadcasts) dispatcher.broadcast(payload);
    return changes.length;
  }
}
