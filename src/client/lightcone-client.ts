/**
 * The browser's side of `/api/events/stream`: one EventSource for all parts of a page.
 *
 * ```js
 * const client = new LightconeClient();
 * client.on('history_update', ({ history_ids }) => refetch(history_ids));
 * client.onStatus((status) => showDot(status === 'open'));
 * client.open();
 * ```
 *
 * Every event is a wake-up and may come twice; none is missing, because after an interruption the server is told the last
 * event that arrived, also where the browser would forget it (it keeps it only while it retries by itself). What happened
 * before the very first connection is not sent: load the page's data after the first `open`.
 *
 * ```
 *  closed ──open()──► connecting ──`ready`──► open
 *     ▲                 ▲   │                   │
 *     │ close(),        │   └──── refused ──┐   │ connection lost: the browser retries (connecting)
 *     │ page hidden     └──── back-off ── waiting ◄── server closed it for good
 * ```
 */
import { type Browser, type EventSourceLike, type MessageLike, thisBrowser } from './browser.js';
import { HistorySubscriptions } from './history-subscriptions.js';

export type ClientStatus = 'closed' | 'connecting' | 'open' | 'waiting';

export interface ClientEvents {
  /** Encoded ids of histories that changed; `update_time` is the newest change, naive UTC. */
  history_update: { history_ids: string[]; update_time?: string };
  entry_point_update: Record<string, never>;
  notification_update: Record<string, unknown>;
  broadcast_update: Record<string, unknown>;
  notification_status: { total_unread_count: number; notifications: unknown[]; broadcasts: unknown[] };
}
export type ClientEventName = keyof ClientEvents;

export interface ClientOptions {
  /** Where the server is, with its prefix: `https://example.org/galaxy/`. Default: the origin of the page. */
  baseUrl?: string;
  /** API key; without it the cookie tells who the visitor is. */
  apiKey?: string;
  /** Send cookies to another origin (the server must list this page's origin in `allowed_origins`). */
  withCredentials?: boolean;
  /** Asks for news in the old way while no stream is open: every `pollEveryMs`, after `pollAfterMs` without one. */
  poll?: () => void;
  /** Default 10,000 ms. */
  pollAfterMs?: number;
  /** Default 10,000 ms. */
  pollEveryMs?: number;
  /** A watched history that this visitor may not see (any more). */
  onRefused?: (historyId: string, status: number) => void;
  /** For tests. */
  browser?: Browser;
}

const EVENTS: readonly ClientEventName[] = [
  'history_update',
  'entry_point_update',
  'notification_update',
  'broadcast_update',
  'notification_status',
];
const CLOSED = 2;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

export class LightconeClient {
  readonly #browser: Browser;
  readonly #options: ClientOptions;
  readonly #baseUrl: string;
  readonly #subscriptions: HistorySubscriptions;
  readonly #listeners = new Map<ClientEventName, Set<(data: never) => void>>();
  readonly #statusListeners = new Set<(status: ClientStatus) => void>();
  #status: ClientStatus = 'closed';
  #source: EventSourceLike | undefined;
  #lastEventId = '';
  #attempts = 0;
  #retryTimer: unknown;
  #pollTimer: unknown;
  /** `open()` was called and `close()` was not: what hiding and showing the page goes by. */
  #wanted = false;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
    this.#browser = options.browser ?? thisBrowser();
    this.#baseUrl = `${(options.baseUrl ?? '').replace(/\/+$/, '')}/`;
    this.#subscriptions = new HistorySubscriptions(
      this.#browser,
      `${this.#baseUrl}api/events/history-subscriptions`,
      options.apiKey ? { 'x-api-key': options.apiKey } : {},
      options.withCredentials ? 'include' : 'same-origin',
      options.onRefused ?? (() => {}),
    );
  }

  get status(): ClientStatus {
    return this.#status;
  }

  /** The resume cursor: the `id:` of the last event that arrived; empty before the first. */
  get lastEventId(): string {
    return this.#lastEventId;
  }

  /** @returns a function that removes the listener */
  on<Name extends ClientEventName>(name: Name, listener: (data: ClientEvents[Name]) => void): () => void {
    let listeners = this.#listeners.get(name);
    if (!listeners) {
      listeners = new Set();
      this.#listeners.set(name, listeners);
    }
    const added = listeners.add(listener);
    return () => added.delete(listener);
  }

  /** @returns a function that removes the listener */
  onStatus(listener: (status: ClientStatus) => void): () => void {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  }

  /** Asks for `history_update` of somebody else's history as long as it is in view. @returns a function that ends the view */
  watchHistory(historyId: string): () => void {
    return this.#subscriptions.watch(historyId);
  }

  /** Connects and stays connected until `close()`. */
  open(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#browser.window?.addEventListener('online', this.#wake);
    this.#browser.window?.addEventListener('pagehide', this.#hide);
    this.#browser.window?.addEventListener('pageshow', this.#show);
    this.#browser.document?.addEventListener('visibilitychange', this.#wake);
    this.#connect();
  }

  /** Ends the connection and forgets the cursor: the next visitor of this page may be somebody else. */
  close(): void {
    this.#wanted = false;
    this.#lastEventId = '';
    this.#attempts = 0;
    this.#browser.window?.removeEventListener('online', this.#wake);
    this.#browser.window?.removeEventListener('pagehide', this.#hide);
    this.#browser.window?.removeEventListener('pageshow', this.#show);
    this.#browser.document?.removeEventListener('visibilitychange', this.#wake);
    this.#disconnect();
  }

  #connect(): void {
    this.#dropSource();
    const source = new this.#browser.EventSource(this.#streamUrl(), {
      withCredentials: this.#options.withCredentials ?? false,
    });
    this.#source = source;
    // What a source that was given up still had to say does not count.
    const listen = (type: string, handle: (event: MessageLike) => void): void =>
      source.addEventListener(type, (event) => {
        if (source === this.#source) handle(event);
      });
    // `ready`, not the open event: a proxy can answer 200 and then hold everything back.
    listen('ready', (event) => {
      this.#remember(event);
      this.#attempts = 0;
      this.#setStatus('open');
    });
    listen('error', () => {
      if (source.readyState === CLOSED) this.#retryLater();
      else this.#setStatus('connecting');
    });
    for (const name of EVENTS) listen(name, (event) => this.#receive(name, event));
    this.#setStatus('connecting');
  }

  #streamUrl(): string {
    const query = new URLSearchParams();
    if (this.#options.apiKey) query.set('key', this.#options.apiKey);
    // EventSource cannot set headers, and a new one knows nothing of the old one's last id.
    if (this.#lastEventId) query.set('last_event_id', this.#lastEventId);
    const text = query.toString();
    return `${this.#baseUrl}api/events/stream${text && `?${text}`}`;
  }

  #receive(name: ClientEventName, event: MessageLike): void {
    let data: never;
    try {
      data = JSON.parse(event.data) as never;
    } catch {
      return;
    }
    this.#remember(event);
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(data);
      } catch (error) {
        // One broken part of a page must not silence the others.
        console.error(`lightcone: a listener of ${name} failed`, error);
      }
    }
  }

  #remember({ lastEventId }: MessageLike): void {
    if (lastEventId) this.#lastEventId = lastEventId;
  }

  /** The server refused (any answer but 200 and text/event-stream), and the browser will not try again by itself. */
  #retryLater(): void {
    this.#dropSource();
    this.#setStatus('waiting');
    const wait =
      Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempts) * (0.5 + this.#browser.random());
    this.#attempts += 1;
    this.#retryTimer = this.#browser.setTimeout(() => this.#connect(), wait);
  }

  #dropSource(): void {
    this.#browser.clearTimeout(this.#retryTimer);
    this.#source?.close();
    this.#source = undefined;
  }

  #disconnect(): void {
    this.#dropSource();
    this.#setStatus('closed');
  }

  readonly #wake = (): void => {
    const hidden = this.#browser.document?.visibilityState === 'hidden';
    if (!hidden && (this.#status === 'waiting' || this.#status === 'connecting')) this.#connect();
  };

  // A page that is kept in the back-forward cache must hold no connection; it gets it back when it is shown again.
  readonly #hide = (): void => this.#disconnect();

  readonly #show = ({ persisted }: { persisted?: boolean }): void => {
    if (persisted && this.#status === 'closed') this.#connect();
  };

  #setStatus(status: ClientStatus): void {
    if (status === this.#status) return;
    this.#status = status;
    if (status === 'open') this.#subscriptions.connected();
    else this.#subscriptions.disconnected();
    this.#schedulePolling();
    for (const listener of this.#statusListeners) listener(status);
  }

  /** Runs while a stream is wanted and not open; a change between `connecting` and `waiting` does not start it anew. */
  #schedulePolling(): void {
    const { poll, pollAfterMs = 10_000, pollEveryMs = 10_000 } = this.#options;
    if (!poll) return;
    if (this.#status === 'open' || this.#status === 'closed') {
      this.#browser.clearTimeout(this.#pollTimer);
      this.#pollTimer = undefined;
      return;
    }
    const tick = (): void => {
      this.#pollTimer = this.#browser.setTimeout(tick, pollEveryMs);
      poll();
    };
    this.#pollTimer ??= this.#browser.setTimeout(tick, pollAfterMs);
  }
}
