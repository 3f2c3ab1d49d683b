/** The datasets and collections of one history, kept right: first load, deltas, and starting over where the server says so. */
import { request } from './http.js';
import type { StreamSettings } from './messages.js';

/** A dataset or collection as the API gives it; what was deleted stays, with `deleted: true`. */
export interface HistoryItem {
  type_id: string;
  [field: string]: unknown;
}

interface Delta {
  since: string | null;
  up_to_date: boolean;
  start_over: boolean;
  contents: HistoryItem[];
}

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

export class HistoryView {
  /** By `type_id`. */
  readonly items = new Map<string, HistoryItem>();
  /** False until the first load, and while an answer is waited for. */
  isUpToDate = false;
  /** 0, or the status of the answer that says that the history may not be seen (any more): 401, 403, 404. `items` is empty then. */
  refused = 0;
  /** Since when to ask; empty for everything. */
  #since = '';
  /** What is being asked for is not to be relied on: it was said to start over meanwhile. */
  #overtaken = false;
  #asking = false;
  #again = false;
  #retryMs = FIRST_RETRY_MS;
  #ended = false;
  #settled: (() => void)[] = [];
  #endWait = (): void => {};

  constructor(
    readonly historyId: string,
    private readonly settings: () => StreamSettings,
    private readonly onChange: (view: HistoryView) => void,
    private readonly onEnd: () => void,
    private readonly reached: (mark: string) => Promise<boolean> = async () => false,
  ) {}

  /**
   * Resolves when `items` include a write.
   *
   * @param mark from the header `x-write-mark` of the answer to it
   * @returns false if they never will: the history may not be seen (`refused`), or this view is closed
   */
  async includes(mark: string): Promise<boolean> {
    if (!(await this.reached(mark))) this.changed(null);
    // What the stream told before that is being asked for, or has been.
    if (this.#asking && !this.#ended) await new Promise<void>((resolve) => this.#settled.push(resolve));
    return this.refused === 0 && !this.#ended;
  }

  /** No more requests, no more calls. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#endWait();
    this.#settle();
    this.onEnd();
  }

  /** @param since of an event: `null` says that nothing that is held can be relied on */
  changed(since?: string | null): void {
    if (since === null) {
      this.#since = '';
      this.#overtaken = true;
    }
    this.refresh();
  }

  /** One request at a time: what is said meanwhile is one more. @param atOnce the server is there again: wait no longer for it */
  refresh(atOnce = false): void {
    this.#again = true;
    if (atOnce) this.#endWait();
    if (!this.#asking && !this.#ended) void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    this.isUpToDate = false;
    while (this.#again && !this.#ended) {
      this.#again = this.#overtaken = false;
      const since = this.#since;
      const path = `api/histories/${this.historyId}/contents?since=${encodeURIComponent(since)}`;
      const { status, body } = await request(this.settings(), path);
      if (this.#ended) break;
      const delta = status === 200 ? deltaOf(body) : undefined;
      if (delta) {
        this.#take(delta);
        if (delta.up_to_date || delta.since !== since) this.#retryMs = FIRST_RETRY_MS;
        // It stands still: asking at once would be asking for ever.
        else await this.#wait();
      } else if (status < 400 || status === 408 || status === 429 || status >= 500) await this.#wait();
      else this.#refuse(status);
    }
    this.#asking = false;
    this.#settle();
  }

  #settle(): void {
    for (const resolve of this.#settled.splice(0)) resolve();
  }

  #take(delta: Delta): void {
    this.refused = 0;
    if (delta.start_over) this.items.clear();
    for (const item of delta.contents) this.items.set(item.type_id, item);
    if (!this.#overtaken) this.#since = delta.since ?? '';
    if (!delta.up_to_date) {
      this.#again = true;
      return;
    }
    this.isUpToDate = !this.#again;
    this.#tell();
  }

  /** What is shown may not be shown any more. The next event of the history, and the next stream, ask again. */
  #refuse(status: number): void {
    this.refused = status;
    this.#since = '';
    this.items.clear();
    this.#tell();
  }

  #tell(): void {
    try {
      this.onChange(this);
    } catch (error) {
      // What a page does with it must not end the asking.
      console.error('lightcone: a view of a history failed', error);
    }
  }

  async #wait(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#retryMs * (0.5 + Math.random()));
      this.#endWait = () => {
        clearTimeout(timer);
        this.#retryMs = FIRST_RETRY_MS;
        resolve();
      };
    });
    this.#endWait = () => {};
    this.#retryMs = Math.min(LONGEST_RETRY_MS, 2 * this.#retryMs);
    this.#again = true;
  }
}

/** A server without positions (a Galaxy) answers with everything. @returns undefined for what is no answer of either */
function deltaOf(body: unknown): Delta | undefined {
  if (Array.isArray(body)) return { since: '', up_to_date: true, start_over: true, contents: body };
  return Array.isArray((body as Delta | undefined)?.contents) ? (body as Delta) : undefined;
}
