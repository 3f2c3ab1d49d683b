/**
 * Waiting times between attempts: they double from `firstMs` to `maxMs`, each multiplied by a random 0.5 to 1.5, so that
 * processes that lost the same neighbour do not come back in step.
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

  /** To be called only after the whole set-up worked, not when a mere connect did: else a neighbour that accepts and dies is hammered. */
  reset(): void {
    this.#attempt = 0;
  }
}
