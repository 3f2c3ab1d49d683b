/** One page's view of the stream: listeners, watched histories, and the state it is in. */

import type { HistoryView } from './history.js';
import { whoIs } from './http.js';
import { type HubLink, type LinkOptions, ownWorkerLink, sharedLink } from './links.js';
import { load } from './load.js';
import type { Marks } from './marks.js';
import type { FromHub, StreamEvent, StreamSettings, ToHub } from './messages.js';
import { next, type State } from './states.js';

export interface Events {
  /** Encoded ids of histories that changed; `update_time` is the newest change, naive UTC. */
  history_update: { history_ids: string[]; update_time?: string; since?: Record<string, string | null> };
  marks_reached: { marks: string[]; start_over: boolean };
  entry_point_update: Record<string, never>;
  notification_update: Record<string, unknown>;
  broadcast_update: Record<string, unknown>;
  notification_status: { total_unread_count: number; notifications: unknown[]; broadcasts: unknown[] };
}
// biome-ignore lint/suspicious/noExplicitAny: events that a server defines for its own tables
type DataOf<Name extends string> = Name extends keyof Events ? Events[Name] : any;

export interface ClientOptions {
  /** Where the server is, with its prefix: `https://example.org/galaxy/`. Default: the origin of the page. */
  baseUrl?: string;
  /** API key; without it the cookie tells who the visitor is. */
  apiKey?: string;
  /** Send cookies to another origin (the server must list this page's origin in `allowed_origins`). */
  withCredentials?: boolean;
  /** `worker`, `lock`: how the tabs of a browser share one stream; `none`: each has its own. Default: the best there is. */
  share?: 'auto' | 'worker' | 'lock' | 'none';
  /** Where the SharedWorker's script is; default: beside this file. It must be of the page's own origin. */
  workerUrl?: string | URL;
  /** Ask in the old way while no stream can be had. Default: true. */
  polling?: boolean;
  /** The server's `keepalive_interval`. Default: 30,000 ms. */
  keepaliveMs?: number;
  /** A watched history that this visitor may not see (any more). */
  onRefused?: (historyId: string, status: number) => void;
}

const ALIVE_MS = 5_000;
const SILENT_HUB_MS = 12_000;
const WHO_RETRY_MS = 3_000;
/** The server is asked for a history so often where it sends no events: as often as the poller asks, in view and hidden. */
const POLL_MS = 3_000;
const HIDDEN_POLL_MS = 60_000;
/** So often in a row the worker may find another person in its cookies than the page does in its own. */
const MOST_STRANGERS = 2;

export class LightconeClient {
  readonly #options: ClientOptions;
  readonly #tab = Math.random().toString(36).slice(2) + Date.now().toString(36);
  readonly #listeners = new Map<string, Set<(data: never, id: string) => void>>();
  readonly #stateListeners = new Set<(state: State, reason: string) => void>();
  readonly #views = new Map<string, number>();
  #marks: Promise<Marks> | undefined;
  #state: State = 'stopped';
  #link: HubLink | undefined;
  #settings: StreamSettings | undefined;
  #wanted = false;
  /** Ends what the page's events are listened to with. */
  #page: AbortController | undefined;
  /** Counts openings, so that what belongs to an earlier one is ignored. */
  #opening = 0;
  /** How often in a row the hub found somebody else. */
  #strangers = 0;
  /** Of the last event; -1 before the hub has said where its count stands. */
  #seq = -1;
  #cursor = '';
  #heardAt = 0;
  #checkedAt = 0;
  #alive: ReturnType<typeof setInterval> | undefined;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
  }

  get state(): State {
    return this.#state;
  }

  /** The resume cursor: the `id:` of the last event that arrived; empty before the first. */
  get lastEventId(): string {
    return this.#cursor;
  }

  /** @returns a function that removes the listener */
  on<Name extends string>(name: Name, listener: (data: DataOf<Name>, id: string) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Called at once with the present state, and at each change. @returns a function that removes the listener */
  onState(listener: (state: State, reason: string) => void): () => void {
    this.#stateListeners.add(listener);
    listener(this.#state, '');
    return () => this.#stateListeners.delete(listener);
  }

  /** Asks for `history_update` of somebody else's history as long as it is in view. @returns a function that ends the view */
  watchHistory(historyId: string): () => void {
    this.#views.set(historyId, (this.#views.get(historyId) ?? 0) + 1);
    this.#watch();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const left = this.#views.get(historyId)! - 1;
      if (left > 0) this.#views.set(historyId, left);
      else this.#views.delete(historyId);
      this.#watch();
    };
  }

  /**
   * The contents of a history, kept right from now on.
   *
   * @param onChange called whenever they were brought up to date
   * @param foreign the history is somebody else's: it is watched as long as the view is open
   */
  async history(
    historyId: string,
    onChange: (view: HistoryView) => void,
    { foreign = false } = {},
  ): Promise<HistoryView> {
    // A file of its own: a page that does not ask for it does not load it.
    const { HistoryView } = await load(
      () => import('./history.js'),
      new URL('./history.js', import.meta.url),
    );
    const ends = [
      this.on('history_update', ({ history_ids, since }) => {
        if (history_ids.includes(historyId)) view.changed(since?.[historyId]);
      }),
      ...(foreign ? [this.watchHistory(historyId)] : []),
    ];
    const view: HistoryView = new HistoryView(
      historyId,
      () => this.#settings ?? this.#newSettings(),
      onChange,
      () => {
        for (const end of ends) end();
      },
      (mark) => this.includes(mark),
    );
    let poll: ReturnType<typeof setInterval> | undefined;
    let askedAt = 0;
    const askInTurn = (): void => {
      if (!isVisible() && Date.now() - askedAt < HIDDEN_POLL_MS) return;
      askedAt = Date.now();
      view.refresh();
    };
    ends.push(
      this.onState((state) => {
        clearInterval(poll);
        // What changed between the first load and the opening of the stream nobody tells.
        if (state === 'live') view.refresh(true);
        // The poller asks for the current history only.
        else if (state === 'polling') poll = setInterval(askInTurn, POLL_MS);
      }),
      () => clearInterval(poll),
    );
    view.refresh();
    return view;
  }

  /**
   * Resolves when the stream has told everything up to a write, and the write itself.
   *
   * @param mark from the header `x-write-mark` of the answer to the write
   * @returns false where that can not be told (another database by now, no stream to be had): load again what is shown
   */
  async includes(mark: string): Promise<boolean> {
    this.#marks ??= load(() => import('./marks.js'), new URL('./marks.js', import.meta.url)).then(
      ({ Marks }) => {
        const marks = new Marks(() => this.#settings ?? this.#newSettings());
        this.on('marks_reached', (answer) => marks.told(answer));
        this.onState((state) => marks.moved(state));
        return marks;
      },
    );
    const marks = this.#marks;
    // Whoever asks next loads it again.
    marks.catch(() => {
      this.#marks = undefined;
    });
    return (await marks).wait(mark);
  }

  /** Connects, and stays connected until `close()`. */
  open(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#page = new AbortController();
    const { signal } = this.#page;
    const { window, document } = globalThis as { window?: Window; document?: Document };
    window?.addEventListener('pagehide', this.#pause, { signal });
    window?.addEventListener('pageshow', this.#resume, { signal });
    // A frozen page must not keep the lock, nor a stream that it cannot read.
    document?.addEventListener('freeze', this.#pause, { signal });
    document?.addEventListener('resume', () => this.resume(), { signal });
    for (const event of ['online', 'visibilitychange']) {
      (event === 'online' ? window : document)?.addEventListener(event, this.#wake, { signal });
    }
    void this.#join();
  }

  /** Ends the connection and forgets the cursor: the next visitor of this page may be somebody else. */
  close(): void {
    this.#wanted = false;
    this.#page?.abort();
    this.#leave();
    this.#cursor = '';
    this.#seq = -1;
    this.#show('stopped', '');
  }

  /** Gives the connection up and keeps the cursor: `resume()` goes on where it stopped. */
  pause(): void {
    if (!this.#wanted) return;
    this.#leave();
    this.#show(next(this.#state, 'pause'), '');
  }

  resume(): void {
    if (this.#wanted && this.#state === 'paused') void this.#join();
  }

  // --- the hub -----------------------------------------------------------------------------------------------------

  async #join(): Promise<void> {
    this.#opening += 1;
    const opening = this.#opening;
    this.#show(next(this.#state, 'open'), '');
    const settings = this.#newSettings();
    const identity = await whoIs(settings);
    if (opening !== this.#opening) return;
    if (identity === undefined) {
      this.#joinLater(opening);
      return;
    }
    this.#settings = { ...settings, identity };
    try {
      this.#take(opening, await this.#openLink(opening));
    } catch {
      this.#joinLater(opening);
      return;
    }
    if (opening !== this.#opening) return;
    this.#heardAt = this.#checkedAt = Date.now();
    clearInterval(this.#alive);
    this.#alive = setInterval(() => this.#check(), ALIVE_MS);
    (this.#alive as { unref?: () => void }).unref?.();
  }

  #joinLater(opening: number): void {
    setTimeout(() => opening === this.#opening && void this.#join(), WHO_RETRY_MS);
  }

  #newSettings(): StreamSettings {
    const {
      baseUrl = '',
      apiKey = '',
      withCredentials = false,
      polling = true,
      keepaliveMs = 30_000,
    } = this.#options;
    const base = `${baseUrl.replace(/\/+$/, '')}/`;
    const page = (globalThis as { location?: Location }).location?.href;
    return {
      // Absolute: a worker's own address is another one.
      baseUrl: page === undefined ? base : new URL(base, page).href,
      apiKey,
      withCredentials,
      identity: '',
      polling,
      keepaliveMs,
    };
  }

  /** The best there is: a SharedWorker, a worker of this tab, this page itself. */
  async #openLink(opening: number): Promise<HubLink> {
    const { workerUrl } = this.#options;
    const share = this.#strangers > MOST_STRANGERS ? 'none' : (this.#options.share ?? 'auto');
    const options: LinkOptions = {
      settings: this.#settings!,
      onMessage: (message) => {
        if (opening === this.#opening) this.#receive(message);
      },
    };
    const here = globalThis as { document?: Document; SharedWorker?: unknown };
    const canLock =
      share !== 'worker' &&
      here.document &&
      'locks' in navigator &&
      'BroadcastChannel' in globalThis &&
      globalThis.crypto?.subtle;
    const inPage = async (): Promise<HubLink> => {
      const { electedLink, ownLink } = await load(
        () => import('./worker.js'),
        new URL('./worker.js', import.meta.url),
      );
      return share !== 'none' && canLock
        ? electedLink(options).catch(() => ownLink(options))
        : ownLink(options);
    };
    const ways: (typeof sharedLink)[] = [];
    if (share !== 'none' && share !== 'lock' && here.SharedWorker) ways.push(sharedLink);
    if (share !== 'none' && canLock) ways.push(ownWorkerLink);
    const url =
      ways.length > 0
        ? new URL(workerUrl ?? new URL('./worker.js', import.meta.url), location.href)
        : undefined;
    const open = (): HubLink | Promise<HubLink> => {
      const way = ways.shift();
      if (!way || url?.origin !== location.origin) return inPage();
      try {
        return way(url, options, async () => {
          if (opening !== this.#opening) return;
          this.#link?.close();
          this.#link = undefined;
          try {
            this.#take(opening, await open());
          } catch {
            this.#joinLater(opening);
          }
        });
      } catch {
        // A policy of the page forbids workers.
        return open();
      }
    };
    return open();
  }

  #take(opening: number, link: HubLink): void {
    if (opening === this.#opening) {
      this.#link = link;
      this.#hello();
    } else {
      link.close();
    }
  }

  #leave(): void {
    this.#opening += 1;
    clearInterval(this.#alive);
    this.#post({ t: 'bye' });
    this.#link?.close();
    this.#link = undefined;
  }

  #hello(): void {
    this.#post({
      t: 'hello',
      settings: this.#settings!,
      seq: this.#seq,
      cursor: this.#cursor,
      watched: [...this.#views.keys()],
      visible: isVisible(),
    });
  }

  #watch(): void {
    this.#post({ t: 'watch', watched: [...this.#views.keys()], visible: isVisible() });
  }

  #post(message: ToHub extends infer M ? (M extends ToHub ? Omit<M, 'tab'> : never) : never): void {
    this.#link?.post({ ...message, tab: this.#tab } as ToHub);
  }

  /** Asks whether the hub still answers. A page that was frozen looks late itself: it waits once more. */
  #check(): void {
    const now = Date.now();
    // The clock may be set back as well.
    const wasFrozen = Math.abs(now - this.#checkedAt) > 2 * ALIVE_MS;
    this.#checkedAt = now;
    if (wasFrozen) {
      this.#heardAt = now;
      // A computer that was asleep: its stream may be dead without a word.
      if (isVisible()) this.#post({ t: 'wake' });
    }
    if (now - this.#heardAt > SILENT_HUB_MS + Math.random() * 2_000 && isVisible()) {
      this.#heardAt = now;
      this.#link?.renew();
      return;
    }
    this.#post({ t: 'alive' });
  }

  #receive(message: FromHub): void {
    this.#heardAt = Date.now();
    if ('to' in message && message.to !== undefined && message.to !== this.#tab) return;
    switch (message.t) {
      case 'leader':
        if (this.#link) this.#hello();
        break;
      case 'event':
        // A message that this page slept through leaves a hole in the numbers: the hub is asked for it.
        if (message.seq > this.#seq + 1 && this.#seq >= 0) this.#hello();
        else if (message.seq > this.#seq) this.#event(message);
        break;
      case 'state':
        if (message.reason === 'identity' && this.#wanted) {
          this.#rejoin();
          break;
        }
        // The answer to a hello comes after what was missed; what is not remembered any more comes with new numbers.
        if (message.to || this.#seq < 0) this.#seq = Math.max(this.#seq, message.seq);
        if (this.#cursor === '') this.#cursor = message.cursor;
        this.#show(message.state, message.reason);
        break;
      case 'alive':
        if (message.seq > this.#seq) this.#hello();
        else this.#cursor = message.cursor || this.#cursor;
        break;
      case 'refused':
        if (this.#views.has(message.historyId)) this.#options.onRefused?.(message.historyId, message.status);
    }
  }

  /**
   * The cookie speaks for somebody else now: nothing of the person before may be resumed. Where a page and its worker do not have
   * the same cookies (in a frame of another site), they never agree: such a page keeps a stream of its own.
   */
  #rejoin(): void {
    this.#leave();
    this.#cursor = '';
    this.#seq = -1;
    this.#strangers += 1;
    if (this.#strangers === 1) void this.#join();
    else this.#joinLater(this.#opening);
  }

  #event(event: StreamEvent): void {
    this.#seq = event.seq;
    this.#cursor = event.id;
    let data: never;
    try {
      data = JSON.parse(event.data) as never;
    } catch {
      return;
    }
    for (const listener of [...(this.#listeners.get(event.name) ?? [])]) {
      guarded(event.name, () => listener(data, event.id));
    }
  }

  #show(state: State, reason: string): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === 'live') this.#strangers = 0;
    for (const listener of [...this.#stateListeners]) guarded('the state', () => listener(state, reason));
  }

  // --- the page ----------------------------------------------------------------------------------------------------

  // A page in the back/forward cache must hold no connection and no port; it gets them back when it is shown again.
  readonly #pause = (): void => this.pause();

  readonly #resume = ({ persisted }: PageTransitionEvent): void => {
    if (persisted) this.resume();
  };

  readonly #wake = (): void => {
    this.#watch();
    if (!isVisible() || !this.#link) return;
    this.#post({ t: 'wake' });
    this.#post({ t: 'alive' });
  };
}

/** One broken part of a page must not silence the others. */
function guarded(what: string, call: () => void): void {
  try {
    call();
  } catch (error) {
    console.error(`lightcone: a listener of ${what} failed`, error);
  }
}

const isVisible = (): boolean =>
  (globalThis as { document?: Document }).document?.visibilityState !== 'hidden';
