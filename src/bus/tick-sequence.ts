import type { Tick } from '../core/events.js';
import type { Clock } from '../lib/clock.js';

/** Two leaders can overlap for a moment; more than a few at once cannot be. */
const REMEMBERED_LEADERS = 8;

/** Notices what was lost on the way: ticks, and the updates between them. */
export class TickSequence {
  /** By leader: its last tick, and how many updates had come by then. */
  readonly #last = new Map<string, { sequence: number; updates: number }>();
  #updates = 0;
  /** By the last tick of anybody. */
  #updatesByTick = 0;
  /** The last tick, or the beginning of the subscription. */
  #heardAt: number;

  constructor(
    private readonly clock: Clock,
    /** So long a pause between two ticks is one in which messages can have expired. */
    private readonly longestPauseMs: number,
  ) {
    this.#heardAt = clock.monotonic();
  }

  /** A `history_update` came. Leaders alone publish them. */
  heardUpdate(): void {
    this.#updates += 1;
  }

  /**
   * @param updates how many the leader published since its tick before: a broker may drop the tasks and bring the tick
   * @returns true when something before this tick is missing, or may be
   */
  missedBefore(tick: Tick, updates = 0): boolean {
    // A successor counts from one: that the last ticks of its predecessor are missing shows by the time only.
    const now = this.clock.monotonic();
    const paused = now - this.#heardAt > this.longestPauseMs;
    this.#heardAt = now;
    const last = this.#last.get(tick.leader);
    // The first tick ever seen is a beginning. A leader that appears later is known from its first tick on, 0 or 1.
    const isFirst = last === undefined && this.#last.size === 0;
    const expected = isFirst ? tick.sequence : (last?.sequence ?? 0) + 1;
    const heard = this.#updates - (last?.updates ?? this.#updatesByTick);
    const dropped = !isFirst && tick.sequence === expected && heard < updates;
    this.#updatesByTick = this.#updates;
    if (last === undefined || tick.sequence > last.sequence) {
      this.#last.delete(tick.leader);
      this.#last.set(tick.leader, { sequence: tick.sequence, updates: this.#updates });
    }
    if (this.#last.size > REMEMBERED_LEADERS) {
      const oldest = this.#last.keys().next().value;
      if (oldest !== undefined) this.#last.delete(oldest);
    }
    return paused || dropped || tick.sequence > expected;
  }

  /** The next tick is the first of a new subscription; a gap before it is told by others. */
  begin(): void {
    this.#last.clear();
    this.#heardAt = this.clock.monotonic();
  }
}
