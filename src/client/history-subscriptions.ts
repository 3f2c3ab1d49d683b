import type { Browser } from './browser.js';

/** The server takes no more in one call. */
const BATCH = 200;
const RETRY_MS = 5_000;

/**
 * Histories of other people that this page shows. Counted, so that two views of one history are one subscription; told to
 * the server again after each connect, because a worker forgets a viewer whose last stream closed.
 */
export class HistorySubscriptions {
  readonly #views = new Map<string, number>();
  #connected = false;
  #retry: unknown;

  constructor(
    private readonly browser: Pick<Browser, 'fetch' | 'setTimeout' | 'clearTimeout'>,
    private readonly url: string,
    private readonly headers: Record<string, string>,
    private readonly credentials: 'include' | 'same-origin',
    /** A history that the server refuses (not shared with this user any more, or no such id). */
    private readonly onRefused: (historyId: string, status: number) => void,
  ) {}

  /** @returns a function that ends this view; calling it twice is the same as once */
  watch(historyId: string): () => void {
    const views = this.#views.get(historyId) ?? 0;
    this.#views.set(historyId, views + 1);
    if (views === 0 && this.#connected) void this.#subscribe([historyId]);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#end(historyId);
    };
  }

  connected(): void {
    this.#connected = true;
    this.#subscribeAll();
  }

  disconnected(): void {
    this.#connected = false;
    this.browser.clearTimeout(this.#retry);
  }

  #subscribeAll(): void {
    const ids = [...this.#views.keys()];
    for (let start = 0; start < ids.length; start += BATCH)
      void this.#subscribe(ids.slice(start, start + BATCH));
  }

  #end(historyId: string): void {
    const views = (this.#views.get(historyId) ?? 1) - 1;
    if (views > 0) {
      this.#views.set(historyId, views);
      return;
    }
    this.#views.delete(historyId);
    // Not repeated when it fails: an event too many does no harm, and the subscription ends with the stream.
    if (this.#connected) void this.#send('DELETE', [historyId]);
  }

  async #subscribe(historyIds: string[]): Promise<void> {
    const status = await this.#send('POST', historyIds);
    if (status >= 200 && status < 300) return;
    const refused = status === 400 || status === 403;
    if (refused && historyIds.length === 1) this.onRefused(historyIds[0]!, status);
    // One history that is not shared any more must not silence the others: the server takes all or none.
    else if (refused) for (const id of historyIds) void this.#subscribe([id]);
    else if (this.#connected) {
      this.browser.clearTimeout(this.#retry);
      this.#retry = this.browser.setTimeout(() => this.#subscribeAll(), RETRY_MS);
    }
  }

  /** @returns the HTTP status; 0 when there was no answer */
  async #send(method: 'POST' | 'DELETE', historyIds: string[]): Promise<number> {
    try {
      const response = await this.browser.fetch(this.url, {
        method,
        headers: { 'content-type': 'application/json', ...this.headers },
        credentials: this.credentials,
        body: JSON.stringify({ history_ids: historyIds }),
      });
      return response.status;
    } catch {
      return 0;
    }
  }
}
