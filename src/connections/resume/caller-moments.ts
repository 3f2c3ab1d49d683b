/** Judges a moment that a caller sends: the `Last-Event-ID` of a tab, the `since` of a request. */
import type { Cursor } from '../../core/events.js';
import { secondsToMicros } from '../../lib/time.js';
import type { Metrics } from '../../telemetry/metrics.js';
import type { DatabaseClock } from './database-clock.js';
import type { Positions } from './positions.js';

/** A moment further ahead of the database clock is not one of ours. */
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
   * @returns the cursor from which to catch up. An unreadable or future moment (which is counted) does not reveal what
   * the tab has seen, so everything recent is delivered again
   */
  accept(moment: Cursor | undefined): Cursor | undefined {
    const { databaseClock, recentWindowSeconds, metrics } = this.options;
    const clock = databaseClock();
    if (clock === undefined) return moment;
    const now = clock.now();
    // An id from before a backward step of the clock may be in the future, but is known nevertheless.
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

  /** A leader may store a later moment for its predecessor's ticks; elsewhere a later position has that moment. */
  newest() {
    const { databaseClock, positions } = this.options;
    const newest = positions.newest();
    const now = databaseClock()?.now() ?? Number.POSITIVE_INFINITY;
    return newest && { position: newest.position, moment: Math.min(newest.moment, now) };
  }

  oldest() {
    return this.options.positions.oldest();
  }

  /** No row can be late for a moment in the future. */
  floor(moment: Cursor): Cursor {
    const now = this.options.databaseClock()?.now() ?? 0;
    return moment > now + FUTURE_TOLERANCE ? moment : this.options.positions.floor(moment);
  }

  /** Whether each worker remembers everything delivered since then. */
  isWhole(since: Cursor): boolean {
    const now = this.options.databaseClock()?.now() ?? Number.POSITIVE_INFINITY;
    // Pruning uses the times of rows.
    const earliest = this.options.positions.earliestAfter(since);
    return earliest > now - secondsToMicros(this.options.recentWindowSeconds);
  }
}
