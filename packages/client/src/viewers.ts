/**
 * Histories of other people that the tabs of this browser show. The server forgets them when the last stream of its user
 * closes, so they are sent again after each `ready`.
 */
import { request } from './http.js';
import type { StreamSettings } from './messages.js';

const BATCH = 200;
const RETRY_MS = 5_000;
const PATH = 'api/events/history-subscriptions';

export class Viewers {
  #watched = new Set<string>();
  #connected = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly settings: StreamSettings,
    private readonly onRefused: (historyId: string, status: number) => void,
  ) {}

  get ids(): ReadonlySet<string> {
    return this.#watched;
  }

  set(wanted: ReadonlySet<string>): void {
    const before = this.#watched;
    this.#watched = new Set(wanted);
    if (!this.#connected) return;
    void this.#subscribe([...wanted].filter((id) => !before.has(id)));
    const ended = [...before].filter((id) => !wanted.has(id));
    // Not repeated when it fails: an event too many does no harm.
    if (ended.length > 0) void this.#send('DELETE', ended);
  }

  connected(): void {
    this.#connected = true;
    void this.#subscribe([...this.#watched]);
  }

  disconnected(): void {
    this.#connected = false;
    clearTimeout(this.#retry);
  }

  async #subscribe(ids: string[]): Promise<void> {
    for (let start = 0; start < ids.length; start += BATCH) {
      await this.#subscribeBatch(ids.slice(start, start + BATCH));
    }
  }

  async #subscribeBatch(ids: string[]): Promise<void> {
    const status = await this.#send('POST', ids);
    if (status >= 200 && status < 300) return;
    const refused = status === 400 || status === 403 || status === 404;
    if (refused && ids.length === 1) this.onRefused(ids[0]!, status);
    // The server takes all or none: one history that is not shared any more must not silence the others.
    else if (refused) for (const id of ids) await this.#subscribeBatch([id]);
    else if (this.#connected) {
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.connected(), RETRY_MS);
    }
  }

  async #send(method: 'POST' | 'DELETE', ids: string[]): Promise<number> {
    return (await request(this.settings, PATH, { method, body: JSON.stringify({ history_ids: ids }) }))
      .status;
  }
}
