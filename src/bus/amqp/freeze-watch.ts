import { setAlignedInterval } from '../../lib/aligned-interval.js';
import type { Clock } from '../../lib/clock.js';

const LOOK_MS = 1_000;

/**
 * Detects that this process stood still (SIGSTOP, a suspended machine, a blocked event loop) for so long that messages
 * may have expired. Its own timer is then late.
 */
export class PauseDetector {
  #end: (() => void) | undefined;
  #lastLook = 0;

  constructor(
    private readonly clock: Clock,
    private readonly longestMs: number,
    private readonly onFrozen: (ms: number) => void,
  ) {}

  start(): void {
    this.stop();
    this.#lastLook = this.clock.monotonic();
    this.#end = setAlignedInterval(LOOK_MS, this.clock, () => this.look());
  }

  stop(): void {
    this.#end?.();
    this.#end = undefined;
  }

  /** The callback of the timer. */
  look(): void {
    const now = this.clock.monotonic();
    const pause = now - this.#lastLook;
    this.#lastLook = now;
    if (pause > this.longestMs) this.onFrozen(pause);
  }
}
