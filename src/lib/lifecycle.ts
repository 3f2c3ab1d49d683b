/**
 * Whatever holds a socket, a timer or a loop. Both methods may be called twice or at once; a start that fails half-way
 * leaves nothing behind; `stop` after a failed start is allowed and does nothing.
 */
export interface Lifecycle {
  /** @param signal aborts a start that is still waiting (for a database, a broker) */
  start(signal?: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

type OnReleaseError = (name: string, error: unknown) => void;

/** What has been started, to be released in the reverse order. */
export class Releasers {
  #stack: { name: string; release: () => unknown }[] = [];
  #onError: OnReleaseError | undefined;

  /** Before the thing is started. @throws after `release`, which a start has not noticed: what is added is released at once */
  add(name: string, release: () => unknown): void {
    this.#stack.push({ name, release });
    if (this.#onError === undefined) return;
    void this.#releaseAll(this.#onError);
    this.throwIfReleased();
  }

  /** For the end of a start, and for what cannot be released. */
  throwIfReleased(): void {
    if (this.#onError !== undefined) throw new Error('stopped while it was starting');
  }

  /** Releases everything, last first. One failing release does not keep the others; the errors are handed to `onError`. */
  async release(onError: OnReleaseError = () => {}): Promise<void> {
    this.#onError = onError;
    await this.#releaseAll(onError);
  }

  async #releaseAll(onError: OnReleaseError): Promise<void> {
    for (;;) {
      const entry = this.#stack.pop();
      if (!entry) return;
      try {
        await entry.release();
      } catch (error) {
        onError(entry.name, error);
      }
    }
  }
}

/** Waits `ms`, or rejects with the signal's reason as soon as it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Rejects with `makeError()` when `work` has not settled after `ms`; the work itself goes on. */
export function withDeadline<T>(work: Promise<T>, ms: number, makeError: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(makeError()), ms);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
