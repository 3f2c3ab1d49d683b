/**
 * An object that holds a socket, a timer or a loop. Both methods may be called twice or concurrently. A start that
 * fails leaves nothing behind; `stop` after a failed start does nothing.
 */
export interface Lifecycle {
  /** @param signal aborts a start that still waits (for a database, a broker) */
  start(signal?: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

type OnReleaseError = (name: string, error: unknown) => void;

/** The started components, which are released in reverse order. */
export class Releasers {
  #stack: { name: string; release: () => unknown }[] = [];
  #onError: OnReleaseError | undefined;

  /** Call it before the start of a component. @throws after `release`; the component is then released at once */
  add(name: string, release: () => unknown): void {
    this.#stack.push({ name, release });
    if (this.#onError === undefined) return;
    void this.#releaseAll(this.#onError);
    this.throwIfReleased();
  }

  /** For the end of a start, and for components without a release. */
  throwIfReleased(): void {
    if (this.#onError !== undefined) throw new Error('stopped while it was starting');
  }

  /** Releases everything, last first. A failing release does not stop the others; `onError` receives its error. */
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

/** Waits `ms`. Rejects with the signal's reason as soon as the signal aborts. */
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

/** Rejects with `makeError()` if `work` has not settled after `ms`. The work itself continues. */
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
