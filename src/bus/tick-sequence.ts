import type { Tick } from '../core/events.js';

/** Two leaders can overlap for a moment; more than a few at once cannot be. */
const REMEMBERED_LEADERS = 8;

/** Notices ticks that were lost on the way. */
export class TickSequence {
  readonly #last = new Map<string, number>();

  /** @returns true when ticks before this one are missing */
  missedBefore(tick: Tick): boolean {
    const last = this.#last.get(tick.leader);
    // The first tick ever seen is a beginning. A leader that appears later is known from its first tick on, 0 or 1.
    const expected = last === undefined ? (this.#last.size === 0 ? tick.sequence : 1) : last + 1;
    this.#last.delete(tick.leader);
    this.#last.set(tick.leader, Math.max(tick.sequence, last ?? 0));
    if (this.#last.size > REMEMBERED_LEADERS) {
      const oldest = this.#last.keys().next().value;
      if (oldest !== undefined) this.#last.delete(oldest);
    }
    return tick.sequence > expected;
  }

  /** After a gap that has been told already: the next tick is a new beginning. */
  forget(): void {
    this.#last.clear();
  }
}
