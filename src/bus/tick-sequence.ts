import type { Tick } from '../core/events.js';
import type { Clock } from '../lib/clock.js';

/** Two leaders may overlap for a moment, but never more than a few. */
const REMEMBERED_LEADERS = 8;

/** Detects lost ticks. */
export class TickSequence {
  readonly #last = new Map<string, number>();
  /** The time of the last tick, or of the start of the subscription. */
  #heardAt: number;

  constructor(
    private readonly clock: Clock,
    /** Messages may have expired during a longer pause between two ticks. */
    private readonly longestPauseMs: number,
  ) {
    this.#heardAt = clock.monotonic();
  }

  /** @returns true if ticks before this one are missing, or may be */
  missedBefore(tick: Tick): boolean {
    // A successor counts from one, so only the pause reveals that the last ticks of its predecessor are missing.
    const now = this.clock.monotonic();
    const paused = now - this.#heardAt > this.longestPauseMs;
    this.#heardAt = now;
    const last = this.#last.get(tick.leader);
    // The first tick of all starts the sequence. A later leader must start with its first tick, 0 or 1.
    const expected = last === undefined ? (this.#last.size === 0 ? tick.sequence : 1) : last + 1;
    this.#last.delete(tick.leader);
    this.#last.set(tick.leader, Math.max(tick.sequence, last ?? 0));
    if (this.#last.size > REMEMBERED_LEADERS) {
      const oldest = this.#last.keys().next().value;
      if (oldest !== undefined) this.#last.delete(oldest);
    }
    return paused || tick.sequence > expected;
  }

  /** Starts a subscription: the next tick is its first. The bus reports a gap before it. */
  begin(): void {
    this.#last.clear();
    this.#heardAt = this.clock.monotonic();
  }
}
