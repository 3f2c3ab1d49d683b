import type { Tick } from '../core/events.js';
import type { Clock } from '../lib/clock.js';

/** Two leaders may overlap for a moment, but never more than a few. */
const REMEMBERED_LEADERS = 8;

/** Detects lost ticks, and lost updates between ticks. */
export class TickSequence {
  /** By leader: its last tick, and the number of updates that had come by then. */
  readonly #last = new Map<string, { sequence: number; updates: number }>();
  #updates = 0;
  /** The same at the last tick of any leader. */
  #updatesByTick = 0;
  /** The time of the last tick, or of the start of the subscription. */
  #heardAt: number;

  constructor(
    private readonly clock: Clock,
    /** Messages may have expired during a longer pause between two ticks. */
    private readonly longestPauseMs: number,
  ) {
    this.#heardAt = clock.monotonic();
  }

  /** A `history_update` came. Only leaders publish them. */
  heardUpdate(): void {
    this.#updates += 1;
  }

  /**
   * @param updates published by the leader since its last tick: a broker may drop them and deliver the tick
   * @returns true if ticks or updates before this tick are missing, or may be
   */
  missedBefore(tick: Tick, updates = 0): boolean {
    // A successor counts from one, so only the pause reveals that the last ticks of its predecessor are missing.
    const now = this.clock.monotonic();
    const paused = now - this.#heardAt > this.longestPauseMs;
    this.#heardAt = now;
    const last = this.#last.get(tick.leader);
    // The first tick of all starts the sequence. A later leader must start with its first tick, 0 or 1.
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

  /** Starts a subscription: the next tick is its first. The bus reports a gap before it. */
  begin(): void {
    this.#last.clear();
    this.#heardAt = this.clock.monotonic();
  }
}
