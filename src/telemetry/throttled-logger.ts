import type { Clock } from '../lib/clock.js';
import type { Logger } from './logger.js';

/**
 * Logs warnings that may occur a thousand times a second: one line per interval, with the number of suppressed ones.
 */
export class ThrottledLogger {
  #silentUntil = Number.NEGATIVE_INFINITY;
  #suppressed = 0;

  constructor(
    private readonly logger: Logger,
    private readonly clock: Clock,
    private readonly intervalMs = 60_000,
  ) {}

  warn(fields: Record<string, unknown>, message: string): void {
    const now = this.clock.monotonic();
    if (now < this.#silentUntil) {
      this.#suppressed += 1;
      return;
    }
    this.logger.warn(this.#suppressed === 0 ? fields : { ...fields, suppressed: this.#suppressed }, message);
    this.#silentUntil = now + this.intervalMs;
    this.#suppressed = 0;
  }
}
