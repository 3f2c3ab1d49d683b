import { setAlignedInterval } from '../../lib/aligned-interval.js';
import type { Clock } from '../../lib/clock.js';

const LOOK_MS = 500;
/** Ticks come every second. */
const QUIET_MS = 1_500;
const ANSWER_DEADLINE_MS = 1_500;

/**
 * Finds a subscription that carries nothing: a dead connection, and as well one whose exchange, binding or queue is gone.
 * When nothing was heard for a while, something is published that has to come back the same way. Without a leader there
 * are no ticks and it does: nothing happens then.
 */
export class SilenceDetector {
  #end: (() => void) | undefined;
  #heardAt = 0;
  #askedAt: number | undefined;

  constructor(
    private readonly clock: Clock,
    /** @returns false when nothing can be published now: then the silence says nothing */
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

  /** To be called for each message that came through the exchange. */
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
      // Where this process stood still, the answer may lie in the socket: it is read before this is called.
      setImmediate(() => {
        if (this.#end && this.#askedAt !== undefined) this.onDead();
      });
    }
  }
}
