import { onEachBeat } from '../../core/beat.js';
import type { Clock } from '../../core/clock.js';
import { withDeadline } from '../../core/lifecycle.js';

const LOOK_MS = 500;
/** Ticks come every second. */
const QUIET_MS = 1_500;
const ANSWER_DEADLINE_MS = 1_500;

/**
 * Finds a connection that is open and carries nothing. When nothing has been heard for a while, the broker is asked
 * something small; without an answer the connection is dead, some seconds before its heartbeats would tell. Without a
 * leader there are no ticks and the question is answered: nothing happens then.
 */
export class SilenceWatch {
  #end: (() => void) | undefined;
  #heardAt = 0;
  #asking = false;

  constructor(
    private readonly clock: Clock,
    private readonly ask: () => Promise<unknown>,
    private readonly onDead: () => void,
  ) {}

  start(): void {
    this.heard();
    this.#end ??= onEachBeat(LOOK_MS, this.clock, () => void this.#look());
  }

  stop(): void {
    this.#end?.();
    this.#end = undefined;
  }

  /** To be called for each message. */
  heard(): void {
    this.#heardAt = this.clock.monotonic();
  }

  async #look(): Promise<void> {
    if (this.#asking || this.clock.monotonic() - this.#heardAt < QUIET_MS) return;
    this.#asking = true;
    try {
      await withDeadline(this.ask(), ANSWER_DEADLINE_MS, () => new Error('no answer'));
      this.heard();
    } catch {
      // Where the channel was closed in the meantime, its connection is being replaced already.
      if (this.#end) this.onDead();
    } finally {
      this.#asking = false;
    }
  }
}
