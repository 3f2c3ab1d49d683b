/**
 * Notification status objects for tabs that come back. A crowd that reconnects at once is answered with a few statements:
 * the first request goes out immediately, and what arrives while it is under way, or within `SPACING_MS` of it, shares the
 * next one.
 */
import type { Cursor, UserId } from '../core/events.js';
import { sleep } from '../core/lifecycle.js';
import type { NotificationLog } from '../database/port.js';

const SPACING_MS = 250;
const MAX_BATCH = 1000;

interface Waiting {
  request: { userId: UserId | undefined; since: Cursor };
  resolve(status: string): void;
  reject(error: unknown): void;
}

export class StatusBatcher {
  private waiting: Waiting[] = [];
  private running = false;

  constructor(private readonly log: Pick<NotificationLog, 'statuses'>) {}

  get(userId: UserId | undefined, since: Cursor): Promise<string> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ request: { userId, since }, resolve, reject });
      if (!this.running) void this.run();
    });
  }

  private async run(): Promise<void> {
    this.running = true;
    // What came in the same event-loop turn is part of the first batch.
    await new Promise(setImmediate);
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, MAX_BATCH);
      const spacing = sleep(SPACING_MS);
      try {
        const statuses = await this.log.statuses(batch.map((entry) => entry.request));
        batch.forEach((entry, i) => {
          entry.resolve(statuses[i]!);
        });
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
      if (this.waiting.length > 0) await spacing;
    }
    this.running = false;
  }
}
