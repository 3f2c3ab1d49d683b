import type { Tick } from '../core/events.js';
import type { Clock } from '../lib/clock.js';

/** Two leaders can overlap for a moment; more than a few at once cannot be. */
const REMEMBERED_LEADERS = 8;

/** Notices ticks that were lost on the way. */
export class TickSequence {
  readonly #last = new Map<string, number>();
  /** The last tick, or the beginning of the subscription. */
  #heardAt: number;

  constructor(
    private readonly clock: Clock,
    /** So long a pause between two ticks is one in which messages can have expired. */
    private readonly longestPauseMs: number,
  ) {
    this.#heardAt = clock.monotonic();
  }

  /** @returns true when ticks before this one are missing, or may be */
  missedBefore(tick: Tick): boolean {
    // A successor counts from one: that the last ticks of its predecessor are missing shows by the time only.
    const now = this.clock.monotonic();
    const paused = now - this.#heardAt > this.longestPauseMs;
    this.#heardAt = now;
    const last = this.#last.get(tick.leader);
    // The first tick ever seen is a beginning. A leader that appears later is known from its first tick on, 0 or 1.
    const expected = last === undefined ? (this.#last.size === 0 ? tick.sequence : 1) : last + 1;
    this.#last.delete(tick.leader);
    this.#last.set(tick.leader, Math.max(tick.sequence, last ?? 0));
    if (this.#last.size > REMEMBERED_LEADERS) {
      const oldest = this.#last.keys().next().value;
      if (oldest !== undefined) this.#last.delete(oldest);
    }
    return paused || tick.sequence > expected;
  }

  /** The next tick is the first of a new subscription; a gap before it is told by others. */
  begin(): void {
    this.#last.clear();
    this.#heardAt = this.clock.monotonic();
  }
}
