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
  /** Since when to ask; empty for everything. */
  #since = '';
  #asking = false;
  #again = false;
  #retryMs = FIRST_RETRY_MS;
  #ended = false;
  #settled: (() => void)[] = [];

  constructor(
    readonly historyId: string,
    private readonly settings: () => StreamSettings,
    private readonly onChange: (view: HistoryView) => void,
    private readonly onEnd: () => void,
    private readonly reached: (mark: string) => Promise<boolean> = async () => false,
  ) {}

  /** Resolves when `items` include a write. @param mark from the header `x-write-mark` of the answer to it */
  async includes(mark: string): Promise<void> {
    if (!(await this.reached(mark))) this.changed(null);
    // What the stream told before that is being asked for, or has been.
    if (this.#asking) await new Promise<void>((resolve) => this.#settled.push(resolve));
  }

  /** No more requests, no more calls. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.onEnd();
  }

  /** @param since of an event: `null` says that nothing that is held can be relied on */
  changed(since?: string | null): void {
    if (since === null) this.#since = '';
    this.refresh();
  }

  /** One request at a time: what is said meanwhile is one more. */
  refresh(): void {
    this.#again = true;
    if (!this.#asking && !this.#ended) void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    this.isUpToDate = false;
    while (this.#again && !this.#ended) {
      this.#again = false;
      const since = this.#since;
      const path = `api/histories/${this.historyId}/contents?since=${encodeURIComponent(since)}`;
      const { status, body } = await request(this.settings(), path);
      if (this.#ended) break;
      if (status === 200) this.#take(body as Delta | HistoryItem[], since);
      else if (status === 0 || status === 429 || status >= 500) await this.#wait();
      else break;
    }
    this.#asking = false;
    for (const resolve of this.#settled.splice(0)) resolve();
  }

  #take(body: Delta | HistoryItem[], asked: string): void {
    // A server without positions (a Galaxy) answers with everything.
    const delta = Array.isArray(body)
      ? { since: '', up_to_date: true, start_over: true, contents: body }
      : body;
    this.#retryMs = FIRST_RETRY_MS;
    if (delta.start_over) this.items.clear();
    for (const item of delta.contents) this.items.set(item.type_id, item);
    // An event that came meanwhile may have said to start over.
    if (this.#since === asked) this.#since = delta.since ?? '';
    if (!delta.up_to_date) this.#again = true;
    else this.isUpToDate = !this.#again;
    if (delta.up_to_date) this.onChange(this);
  }

  async #wait(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.#retryMs * (0.5 + Math.random())));
    this.#retryMs = Math.min(LONGEST_RETRY_MS, 2 * this.#retryMs);
    this.#again = true;
  }
}
