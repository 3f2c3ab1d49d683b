/** A pause of a loop that others can end early. */
export class WakeablePause {
  #wake: (() => void) | undefined;

  /** Resolves after so long, or on `wake`; at once where `over` is aborted. */
  wait(ms: number, over: AbortSignal): Promise<void> {
    if (ms <= 0 || over.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      this.#wake = done;
      function done() {
        clearTimeout(timer);
        resolve();
      }
    });
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
