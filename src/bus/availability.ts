import type { Logger } from '../telemetry/logger.js';

/** Whether publishing should work now, and listeners for its return. */
export class Availability {
  readonly #listeners = new Set<() => void>();
  #available = false;

  constructor(private readonly logger: Logger) {}

  get available(): boolean {
    return this.#available;
  }

  /** Calls the listeners on the change from false to true. */
  set(available: boolean): void {
    const before = this.#available;
    this.#available = available;
    if (before || !available) return;
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        this.logger.error({ err: error }, 'bus availability listener failed');
      }
    }
  }

  onAvailable(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
