/**
 * Skips a row or a table that cannot be read, so that everything else continues. It counts them, and logs them once a
 * minute.
 */

import { LightconeError } from '../core/errors.js';
import { NotWanted } from '../lib/batcher.js';
import type { Clock } from '../lib/clock.js';
import type { Logger } from './logger.js';
import type { Metrics } from './metrics.js';
import { ThrottledLogger } from './throttled-logger.js';

const NAMED_ROWS = 20;

export class SkippedRows {
  private readonly complaints = new Map<string, ThrottledLogger>();

  constructor(private readonly options: { logger: Logger; clock: Clock; metrics: Metrics }) {}

  readonly rows = (table: string, ids: readonly number[], reason: string): void => {
    this.options.metrics.increment('galaxy.sse.database.left_out', ids.length, { what: table });
    this.complain(table, {
      fields: { table, ids: ids.slice(0, NAMED_ROWS), rows: ids.length, reason },
      message: 'rows cannot be read and are left out: correct or delete them',
    });
  };

  /**
   * @param instead the answer if a retry would fail in the same way (a table without the right to read it)
   * @throws temporary errors
   */
  async unlessBroken<T>(event: string, read: Promise<T>, instead: T): Promise<T> {
    try {
      return await read;
    } catch (error) {
      if (error instanceof NotWanted || (error instanceof LightconeError && error.entry.retryable))
        throw error;
      this.options.metrics.increment('galaxy.sse.database.left_out', 1, { what: event });
      this.complain(`all of ${event}`, {
        fields: { event, err: error },
        message:
          'what was missed of this event cannot be read and is left out: tabs that were away are not told',
      });
      return instead;
    }
  }

  private complain(key: string, { fields, message }: { fields: object; message: string }): void {
    let complaint = this.complaints.get(key);
    if (!complaint) {
      complaint = new ThrottledLogger(this.options.logger, this.options.clock);
      this.complaints.set(key, complaint);
    }
    complaint.warn(fields as Record<string, unknown>, message);
  }
}
