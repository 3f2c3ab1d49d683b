/**
 * Delays between attempts. They double from `firstMs` to `maxMs`, each times a random factor of 0.5 to 1.5, so that
 * processes that lost the same server do not reconnect in step.
 */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly firstMs: number,
    private readonly maxMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  /** Milliseconds to wait before the next attempt. */
  next(): number {
    const base = Math.min(this.maxMs, this.firstMs * 2 ** this.#attempt);
    if (base < this.maxMs) this.#attempt += 1;
    return base * (0.5 + this.random());
  }

  /**
   * Call it after the whole set-up, not after a mere connect: otherwise a server that accepts and dies is hammered.
   */
  reset(): void {
    this.#attempt = 0;
  }
}
