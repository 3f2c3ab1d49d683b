/** The one stream of a browser (or of a tab, where nothing can be shared): opens it, keeps it, and makes up for it. */
import { credentialsOf, headersOf, request, whoIs } from './http.js';
import type { StreamSettings } from './messages.js';
import { type Block, BlockParser } from './parser.js';
import { Poller } from './poller.js';
import { next, type Signal, type State } from './states.js';
import { Viewers } from './viewers.js';

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
const UNREACHABLE_MS = 60_000;
const SWITCHED_OFF_RETRY_MS = 60_000;
/** So many keepalive periods of silence are too long where there is reason for doubt; without one it is two. */
const SILENT_PERIODS = 1.5;

export interface HubListener {
  onEvent(name: string, data: string, id: string): void;
  onState(state: State, reason: string): void;
  onRefused(historyId: string, status: number): void;
  /** Awaited before anything that arrived is told: whoever was held up may hold the stream no longer. */
  confirm?: (() => Promise<unknown>) | undefined;
}

export class Hub {
  #state: State = 'stopped';
  #reason = '';
  #cursor = '';
  #attempts = 0;
  #connection: AbortController | undefined;
  #retryMs: number | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #unreachable: ReturnType<typeof setTimeout> | undefined;
  #visible = true;
  #heardAt = 0;
  readonly #viewers: Viewers;
  readonly #poller: Poller;

  constructor(
    private readonly settings: StreamSettings,
    private readonly listener: HubListener,
  ) {
    this.#viewers = new Viewers(settings, (id, status) => listener.onRefused(id, status));
    this.#poller = new Poller(
      settings,
      () => this.#viewers.ids,
      (name, data) => {
        if (this.#state === 'polling') listener.onEvent(name, JSON.stringify(data), this.#cursor);
      },
    );
  }

  get state(): State {
    return this.#state;
  }

  get reason(): string {
    return this.#reason;
  }

  /** The id of the last block that arrived. */
  get cursor(): string {
    return this.#cursor;
  }

  /** @param cursor from which to resume; '' begins now */
  open(cursor: string): void {
    if (cursor !== '') this.#cursor = cursor;
    this.#move('open');
    this.#connect();
  }

  /** Another tab has seen less than this hub: everything since its cursor is told again. */
  resumeFrom(cursor: string): void {
    this.#cursor = cursor;
    this.#attempts = 0;
    this.#connect();
  }

  /** The network is back, a page came into view, or the computer was asleep. */
  wake(): void {
    if (this.#state === 'stopped') return;
    const isOpen = this.#state === 'live' || this.#state === 'catching_up';
    // By the clock, which a sleep moves on: a stream that was silent for long is dead, and does not know it.
    const silentMs = Math.abs(Date.now() - this.#heardAt);
    // Every tab says so: what the first one began is not begun again.
    const isBegun = this.#connection && silentMs < FIRST_RETRY_MS;
    if (isOpen ? silentMs < SILENT_PERIODS * this.settings.keepaliveMs : isBegun) return;
    this.#attempts = 0;
    this.#connect();
  }

  watch(watched: ReadonlySet<string>, visible: boolean): void {
    this.#visible = visible;
    this.#viewers.set(watched);
    if (this.#state === 'polling') this.#poller.start(visible);
  }

  close(reason = ''): void {
    this.#reason = reason;
    this.#move('close');
  }

  #move(signal: Signal): void {
    const before = this.#state;
    this.#state = next(before, signal);
    if (this.#state === before) return;
    if (this.#state !== 'stopped') this.#reason = '';
    if (this.#state === 'polling') this.#poller.start(this.#visible);
    else this.#poller.stop();
    if (this.#state === 'stopped') this.#drop();
    this.listener.onState(this.#state, this.#reason);
  }

  #drop(): void {
    this.#connection?.abort();
    this.#connection = undefined;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#watchdog);
    clearTimeout(this.#unreachable);
    this.#unreachable = undefined;
    this.#viewers.disconnected();
  }

  #connect(): void {
    if (this.#state === 'stopped') return;
    this.#connection?.abort();
    clearTimeout(this.#retryTimer);
    this.#viewers.disconnected();
    const connection = new AbortController();
    this.#connection = connection;
    if (this.settings.polling) {
      this.#unreachable ??= setTimeout(() => this.#move('unreachable'), UNREACHABLE_MS);
    }
    this.#run(connection).catch(() => {
      if (connection === this.#connection) this.#lost(undefined);
    });
  }

  async #run(connection: AbortController): Promise<void> {
    const { settings } = this;
    const current = (): boolean => connection === this.#connection;
    this.#feedWatchdog();
    const [identity, isSwitchedOff] = await Promise.all([whoIs(settings), this.#isSwitchedOff()]);
    if (!current()) return;
    if (identity === undefined) return this.#lost(undefined);
    if (identity !== settings.identity) return this.close('identity');
    if (isSwitchedOff) {
      this.#move('switched_off');
      return this.#lost(SWITCHED_OFF_RETRY_MS);
    }
    const resuming = this.#cursor;
    const query = resuming === '' ? '' : `?last_event_id=${encodeURIComponent(resuming)}`;
    const response = await fetch(`${settings.baseUrl}api/events/stream${query}`, {
      headers: { accept: 'text/event-stream', ...headersOf(settings) },
      credentials: credentialsOf(settings),
      cache: 'no-store',
      signal: connection.signal,
    });
    if (!current()) return;
    const streams = response.headers.get('content-type')?.startsWith('text/event-stream');
    if (response.status !== 200 || !streams || !response.body) return await this.#answered(response, current);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new BlockParser();
    let readyId: string | undefined;
    for (;;) {
      const { done, value } = await reader.read();
      await this.listener.confirm?.();
      if (!current()) return;
      if (done) return this.#lost(undefined);
      this.#feedWatchdog();
      for (const block of parser.push(value)) {
        // First: who hears that it is live takes the cursor from the same message.
        if (block.id !== undefined) this.#cursor = block.id;
        if (block.event === 'ready') {
          readyId = block.id;
          this.#ready(resuming !== '');
        } else {
          this.#take(block);
        }
        this.#retryMs = block.retry ?? this.#retryMs;
        // The last block of a catch-up is the first with a newer id than `ready` had, or a comment with the same.
        if (block.event !== 'ready' && block.id !== undefined && !(block.event && block.id === readyId))
          this.#move('caught_up');
      }
    }
  }

  #ready(resumed: boolean): void {
    this.#attempts = 0;
    clearTimeout(this.#unreachable);
    this.#unreachable = undefined;
    this.#move(resumed ? 'resumed' : 'ready');
    this.#viewers.connected();
  }

  #take({ event, data, id }: Block): void {
    if (event !== undefined) this.listener.onEvent(event, data, id ?? this.#cursor);
  }

  /** Anything but an open stream. */
  async #answered(response: Response, current: () => boolean): Promise<void> {
    const { status } = response;
    const body = (await response.json().catch(() => undefined)) as { err_code?: number } | undefined;
    if (!current()) return;
    if (status === 204) return this.close('ended');
    if (status === 401) return this.close('unauthorized');
    if (status === 403 && body?.err_code === 403004) {
      if (!this.settings.polling) return this.close('switched_off');
      this.#move('switched_off');
    }
    const retryAfter = Number(response.headers.get('retry-after'));
    this.#lost(Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter * 1000 : undefined);
  }

  #lost(waitMs: number | undefined): void {
    this.#connection = undefined;
    clearTimeout(this.#watchdog);
    this.#viewers.disconnected();
    const wasOpen = this.#state === 'live' || this.#state === 'catching_up';
    this.#move('lost');
    // Full jitter, so that a crowd does not come back at once; a stream that merely ended comes back when it said.
    const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempts);
    const wait = wasOpen ? (this.#retryMs ?? longest) : Math.max(100, Math.random() * longest);
    this.#attempts += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#connect(), Math.max(wait, waitMs ?? 0));
  }

  #feedWatchdog(): void {
    this.#heardAt = Date.now();
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#move('silent');
      this.#connect();
    }, 2 * this.settings.keepaliveMs);
  }

  /** Galaxy accepts a stream although live updates are off, and never sends anything on it. */
  async #isSwitchedOff(): Promise<boolean> {
    if (!this.settings.polling) return false;
    const { body } = await request(this.settings, 'api/configuration?keys=enable_sse_updates');
    return (body as { enable_sse_updates?: boolean } | undefined)?.enable_sse_updates === false;
  }
}
