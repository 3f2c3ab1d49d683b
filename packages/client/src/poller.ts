/** Makes the events of the stream out of what the server answers when it is asked again and again. */
import { request } from './http.js';
import type { StreamSettings } from './messages.js';

const SECOND = 1000;
/** [shown, hidden] in milliseconds, as Galaxy's own client polls. */
const HISTORY_MS = [3 * SECOND, 60 * SECOND] as const;
const ENTRY_POINTS_MS = [10 * SECOND, 60 * SECOND] as const;
const NOTIFICATIONS_MS = [30 * SECOND, 600 * SECOND] as const;
const MAX_WATCHED = 20;

type Emit = (name: string, data: unknown) => void;

export class Poller {
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #running: AbortController | undefined;
  #visible = true;
  readonly #seen = new Map<string, string>();

  constructor(
    private readonly settings: StreamSettings,
    private readonly watched: () => Iterable<string>,
    private readonly emit: Emit,
  ) {}

  /** @param visible whether any page is in view */
  start(visible: boolean): void {
    const change = visible !== this.#visible;
    this.#visible = visible;
    if (this.#running && !change) return;
    this.stop();
    this.#running = new AbortController();
    const { signal } = this.#running;
    this.#every('history', HISTORY_MS, () => this.#history(signal));
    this.#every('entry points', ENTRY_POINTS_MS, () => this.#entryPoints(signal));
    this.#every('notifications', NOTIFICATIONS_MS, () => this.#notifications(signal));
  }

  stop(): void {
    this.#running?.abort();
    this.#running = undefined;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #every(name: string, [shown, hidden]: readonly [number, number], work: () => Promise<void>): void {
    const running = this.#running;
    const turn = async (): Promise<void> => {
      await work();
      if (running !== this.#running || !running) return;
      this.#timers.set(name, setTimeout(turn, this.#visible ? shown : hidden));
    };
    void turn();
  }

  /** The current history, and those of others that are in view. */
  async #history(signal: AbortSignal): Promise<void> {
    const since = this.#seen.get('current');
    const query = since === undefined ? '' : `?since=${encodeURIComponent(since)}`;
    const current = await request(this.settings, `history/current_history_json${query}`, { signal });
    this.#changed('current', current.body);
    for (const id of [...this.watched()].slice(0, MAX_WATCHED)) {
      const { body } = await request(this.settings, `api/histories/${id}?keys=id,update_time`, { signal });
      this.#changed(id, body && { id, ...(body as object) });
    }
  }

  #changed(key: string, body: unknown): void {
    const { id, update_time: updateTime } = (body ?? {}) as { id?: string; update_time?: string };
    if (id === undefined || updateTime === undefined) return;
    const before = this.#seen.get(key);
    this.#seen.set(key, updateTime);
    if (before !== updateTime) this.emit('history_update', { history_ids: [id], update_time: updateTime });
  }

  async #entryPoints(signal: AbortSignal): Promise<void> {
    const { status, body } = await request(this.settings, 'api/entry_points?running=true', { signal });
    if (status !== 200) return;
    const text = JSON.stringify(body);
    const before = this.#seen.get('entry points');
    this.#seen.set('entry points', text);
    if (before !== text && before !== undefined) this.emit('entry_point_update', {});
  }

  async #notifications(signal: AbortSignal): Promise<void> {
    // A minute of overlap: this clock is not the server's, and being told twice does no harm.
    const since = this.#seen.get('notifications') ?? naive(Date.now() - 60 * SECOND);
    const asked = naive(Date.now() - 60 * SECOND);
    const { status, body } = await request(
      this.settings,
      `api/notifications/status?since=${encodeURIComponent(since)}`,
      { signal },
    );
    if (status !== 200) return;
    this.#seen.set('notifications', asked);
    const { notifications = [], broadcasts = [] } = body as {
      notifications?: unknown[];
      broadcasts?: unknown[];
    };
    const text = JSON.stringify(body);
    if (notifications.length + broadcasts.length === 0 || this.#seen.get('status') === text) return;
    this.#seen.set('status', text);
    this.emit('notification_status', body);
  }
}

const naive = (ms: number): string => new Date(ms).toISOString().replace('Z', '');
