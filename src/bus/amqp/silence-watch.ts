import { setAlignedInterval } from '../../lib/aligned-interval.js';
import type { Clock } from '../../lib/clock.js';

const LOOK_MS = 500;
/** Longer than the interval of ticks, one second. */
const QUIET_MS = 1_500;
const ANSWER_DEADLINE_MS = 1_500;

/**
 * Detects a dead subscription: a dead connection, or a missing exchange, binding or queue. After some silence it
 * publishes a probe that should come back the same way. Without a leader there are no ticks, but the probe comes back,
 * and nothing happens.
 */
export class SilenceDetector {
  #end: (() => void) | undefined;
  #heardAt = 0;
  #askedAt: number | undefined;

  constructor(
    private readonly clock: Clock,
    /** @returns false if publishing is impossible now; the silence then proves nothing */
    private readonly ask: () => boolean,
    private readonly onDead: () => void,
  ) {}

  start(): void {
    this.heard();
    this.#end ??= setAlignedInterval(LOOK_MS, this.clock, () => this.#look());
  }

  stop(): void {
    this.#end?.();
    this.#end = undefined;
  }

  /** Call it for each message that came through the exchange. */
  heard(): void {
    this.#heardAt = this.clock.monotonic();
    this.#askedAt = undefined;
  }

  #look(): void {
    const now = this.clock.monotonic();
    if (now - this.#heardAt < QUIET_MS) return;
    if (this.#askedAt === undefined) {
      if (this.ask()) this.#askedAt = now;
    } else if (now - this.#askedAt >= ANSWER_DEADLINE_MS) {
      // After a pause of this process the answer may wait in the socket, which is read before this callback.
      setImmediate(() => {
        if (this.#end && this.#askedAt !== undefined) this.onDead();
      });
    }
  }
}
