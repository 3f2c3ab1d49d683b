import { LightconeError } from './errors.js';

/** The caller of a piece of work: work of users never waits behind work of strangers. */
export type Standing = 'user' | 'stranger';

/**
 * Runs at most `limit` pieces of work at a time, in the order of arrival, those of users before those of strangers.
 */
export class Limiter {
  private running = 0;
  private readonly waiting: Record<Standing, (() => void)[]> = { user: [], stranger: [] };

  /** @param mostWaiting maximum number of waiting pieces of each standing; further ones are refused */
  constructor(
    private readonly limit: number,
    private readonly mostWaiting = Number.POSITIVE_INFINITY,
  ) {}

  /** @throws LightconeError OVERLOADED when too many wait */
  async run<T>(work: () => Promise<T>, standing: Standing = 'user'): Promise<T> {
    if (this.running >= this.limit) await this.wait(this.waiting[standing]);
    else this.running += 1;
    try {
      return await work();
    } finally {
      // Hands the slot over to the next in line without releasing it.
      const next = this.waiting.user.shift() ?? this.waiting.stranger.shift();
      if (next) next();
      else this.running -= 1;
    }
  }

  private wait(queue: (() => void)[]): Promise<void> {
    if (queue.length >= this.mostWaiting) {
      throw new LightconeError('OVERLOADED', 'too many requests of this kind are waiting; try again soon', {
        retryAfterSeconds: 5,
      });
    }
    return new Promise((resolve) => queue.push(resolve));
  }
}
