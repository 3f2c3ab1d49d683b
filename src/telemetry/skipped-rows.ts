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
  private readonly warnings = new Map<string, ThrottledLogger>();

  constructor(private readonly options: { logger: Logger; clock: Clock; metrics: Metrics }) {}

  readonly rows = (table: string, ids: readonly number[], reason: string): void => {
    this.options.metrics.increment('galaxy.sse.database.left_out', ids.length, { what: table });
    this.warn(table, {
      fields: { table, ids: ids.slice(0, NAMED_ROWS), rows: ids.length, reason },
      message: 'unreadable rows skipped: correct or delete them',
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
      this.warn(`all of ${event}`, {
        fields: { event, err: error },
        message:
          'missed events of one kind cannot be read and are skipped: reconnected tabs do not receive them',
      });
      return instead;
    }
  }

  private warn(key: string, { fields, message }: { fields: object; message: string }): void {
    let warning = this.warnings.get(key);
    if (!warning) {
      warning = new ThrottledLogger(this.options.logger, this.options.clock);
      this.warnings.set(key, warning);
    }
    warning.warn(fields as Record<string, unknown>, message);
  }
}
