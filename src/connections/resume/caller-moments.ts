/** What a moment that a caller names is worth: the `Last-Event-ID` of a tab, the `since` of a request. */
import type { Cursor } from '../../core/events.js';
import { secondsToMicros } from '../../lib/time.js';
import type { Metrics } from '../../telemetry/metrics.js';
import type { DatabaseClock } from './database-clock.js';
import type { Positions } from './positions.js';

/** A moment so far ahead of the database clock is not one of ours. */
const FUTURE_TOLERANCE = secondsToMicros(10);

export class CallerMoments {
  constructor(
    private readonly options: {
      positions: Positions;
      recentWindowSeconds: number;
      /** Undefined before the start. */
      databaseClock: () => Pick<DatabaseClock, 'now' | 'judge'> | undefined;
      metrics: Metrics;
    },
  ) {}

  /**
   * @returns the cursor to catch up from: what cannot be read, or lies in the future (counted), says nothing of what the tab
   * has seen, so all that was lately told is told again
   */
  accept(moment: Cursor | undefined): Cursor | undefined {
    const { databaseClock, recentWindowSeconds, metrics } = this.options;
    const clock = databaseClock();
    if (clock === undefined) return moment;
    const now = clock.now();
    // One that was given out before the clock was set back may lie ahead and is known all the same.
    if (moment !== undefined && clock.judge(moment) <= now + FUTURE_TOLERANCE) return moment;
    const reason = moment === undefined ? 'unreadable' : 'future';
    metrics.increment('galaxy.sse.resume.invalid_cursor', 1, { reason });
    return now - secondsToMicros(recentWindowSeconds);
  }

  at(moment: Cursor) {
    return this.options.positions.at(moment);
  }

  ofToken(moment: Cursor) {
    return this.options.positions.ofToken(moment);
  }

  get rowClock(): Cursor {
    return this.options.positions.rowClock;
  }

  /** A leader stores ahead what the one before may have given out: elsewhere a later position stands there by then. */
  newest() {
    const { databaseClock, positions } = this.options;
    const newest = positions.newest();
    const now = databaseClock()?.now() ?? Number.POSITIVE_INFINITY;
    return newest && { position: newest.position, moment: Math.min(newest.moment, now) };
  }

  oldest() {
    return this.options.positions.oldest();
  }

  /** Of a time that is yet to come nothing is late. */
  floor(moment: Cursor): Cursor {
    const now = this.options.databaseClock()?.now() ?? 0;
    return moment > now + FUTURE_TOLERANCE ? moment : this.options.positions.floor(moment);
  }

  /** Whether what was told since then is in the memory of each worker. */
  isWhole(since: Cursor): boolean {
    const now = this.options.databaseClock()?.now() ?? Number.POSITIVE_INFINITY;
    // Pruning goes by the times of rows.
    const earliest = this.options.positions.earliestAfter(since);
    return earliest > now - secondsToMicros(this.options.recentWindowSeconds);
  }
}
