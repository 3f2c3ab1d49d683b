/**
 * A small event-stream client over a real socket. It does what a browser's EventSource does (keeps the last id, honours
 * `retry:`, comes back when the connection breaks, gives up for good after any answer that is not a 200 event stream), and
 * lets a test see what a browser hides: status, headers, every frame with its time of arrival, and how the stream ended.
 */
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { type SseFrame, SseParser } from './sse-parser.js';

export type { SseFrame } from './sse-parser.js';

export interface SseOptions {
  headers?: Record<string, string>;
  lastEventId?: string;
  /** Connect to this unix socket; the URL then only gives path and Host. */
  socketPath?: string;
  /** Come back as EventSource does. Default: a broken stream stays closed. */
  reconnect?: boolean;
  /** Where to go when coming back, as a balancer would choose; else to the same address. */
  nextUrl?: () => string;
  /** Instead of what `retry:` says, so that a test need not wait for seconds. */
  reconnectAfterMs?: number;
}

export interface WaitOptions {
  /** Milliseconds. */
  within?: number;
  /** Look only at frames from this index on (`client.frames.length` of a moment ago). */
  from?: number;
}

/** What `ended` resolves with: `end` properly, `cut` in the middle of the body, `refused` without a stream, `closed` by us. */
export type SseEnding = 'end' | 'cut' | 'refused' | 'closed';

export class SseClient {
  /** Of all connections, in the order of their arrival. */
  readonly frames: SseFrame[] = [];
  /** As a browser would send it next time. */
  lastEventId: string | undefined;
  retryMs = 3000;
  /** Of the latest answer. */
  status = 0;
  headers: IncomingHttpHeaders = {};
  /** Body of an answer that is no stream. */
  body = '';
  /** Answers with a stream so far. */
  opened = 0;
  /** When the connection broke for the last time (`performance.now()`). */
  brokenAt: number | undefined;
  private state: 'open' | 'over' = 'open';
  private ending: SseEnding | undefined;
  private request: ClientRequest | undefined;
  private response: IncomingMessage | undefined;
  private timer: NodeJS.Timeout | undefined;
  private paused = false;
  private awayMs: number | undefined;
  private readonly watchers = new Set<() => void>();

  constructor(
    readonly url: string,
    private readonly options: SseOptions = {},
  ) {
    this.lastEventId = options.lastEventId;
    this.connect(url);
  }

  /** Resolves when the answer is there, be it a stream or a refusal. Rejects when there is none and no reconnect is asked for. */
  static async open(url: string, options: SseOptions = {}): Promise<SseClient> {
    const client = new SseClient(url, options);
    await client.until(() => client.status !== 0 || client.state === 'over', 'an answer', 10_000);
    if (client.status === 0) throw new Error(`no answer from ${url}`);
    return client;
  }

  /** As `open`, and waits for the `ready` event. @throws Error with status and body when the stream is refused */
  static async ready(url: string, options: SseOptions = {}): Promise<SseClient> {
    const client = await SseClient.open(url, options);
    if (client.status !== 200) {
      await client.ended();
      throw new Error(`refused with ${client.status}: ${client.body}`);
    }
    await client.waitFor((frame) => frame.event === 'ready');
    return client;
  }

  /** The frames that fire an event of this kind. */
  events(kind: string, from = 0): SseFrame[] {
    return this.frames.slice(from).filter((frame) => frame.event === kind);
  }

  /** Resolves with the first frame, past or future, that fits. */
  async waitFor(
    fits: (frame: SseFrame) => boolean,
    { within = 5_000, from = 0 }: WaitOptions = {},
  ): Promise<SseFrame> {
    let next = from;
    let found: SseFrame | undefined;
    await this.until(
      () => {
        for (; found === undefined && next < this.frames.length; next += 1) {
          if (fits(this.frames[next]!)) found = this.frames[next];
        }
        return found !== undefined;
      },
      'such a frame',
      within,
    );
    return found!;
  }

  /** The next `history_update` that names this encoded id. */
  waitForHistory(encodedId: string, options: WaitOptions = {}): Promise<SseFrame> {
    return this.waitFor((frame) => historyIds(frame).includes(encodedId), options);
  }

  /** Resolves when the stream is over for good. */
  async ended(within = 5_000): Promise<SseEnding> {
    await this.until(() => this.state === 'over', 'an end of the stream', within);
    return this.ending!;
  }

  /** The socket of the present connection, for tests that do it harm. */
  get socket(): Socket | undefined {
    return this.response?.socket;
  }

  /** Stops reading, so that the server's side fills up; lasts until `resume`. */
  pause(): void {
    this.paused = true;
    this.response?.pause();
  }

  resume(): void {
    this.paused = false;
    this.response?.resume();
  }

  /** Breaks the present connection; with `reconnect` a new one follows. */
  breakConnection(): void {
    this.request?.destroy();
  }

  /** Breaks the present connection and comes back after `ms`. */
  leaveFor(ms: number): void {
    this.awayMs = ms;
    this.breakConnection();
  }

  close(): void {
    this.finish('closed');
    clearTimeout(this.timer);
    this.request?.destroy();
  }

  private connect(url: string): void {
    const { headers, socketPath } = this.options;
    const sent = request(url, {
      agent: false,
      ...(socketPath !== undefined && { socketPath }),
      headers: {
        accept: 'text/event-stream',
        ...headers,
        ...(this.lastEventId && { 'last-event-id': this.lastEventId }),
      },
    });
    this.request = sent;
    sent.on('error', () => {
      if (this.response === undefined) this.onBroken('cut');
    });
    sent.on('response', (response) => this.onResponse(response));
    sent.end();
  }

  private onResponse(response: IncomingMessage): void {
    this.response = response;
    this.headers = response.headers;
    this.body = '';
    const isStream =
      response.statusCode === 200 && /^text\/event-stream\b/.test(response.headers['content-type'] ?? '');
    this.status = response.statusCode!;
    if (isStream) this.opened += 1;
    const parser = new SseParser();
    response.on('data', (chunk: Buffer) => {
      if (isStream) for (const frame of parser.push(chunk, performance.now())) this.onFrame(frame);
      else this.body += chunk.toString('utf8');
      this.look();
    });
    response.on('error', () => {});
    response.on('close', () => {
      this.response = undefined;
      if (isStream) this.onBroken(response.complete ? 'end' : 'cut');
      else this.finish('refused');
    });
    if (this.paused) response.pause();
    this.look();
  }

  private onFrame(frame: SseFrame): void {
    this.frames.push(frame);
    if (frame.id !== undefined) this.lastEventId = frame.id;
    if (frame.retry !== undefined) this.retryMs = frame.retry;
  }

  private onBroken(how: SseEnding): void {
    if (this.state === 'over') return;
    this.brokenAt = performance.now();
    if (!this.options.reconnect) {
      this.finish(how);
      return;
    }
    this.timer = setTimeout(
      () => this.connect(this.options.nextUrl?.() ?? this.url),
      this.awayMs ?? this.options.reconnectAfterMs ?? this.retryMs,
    );
    this.awayMs = undefined;
  }

  private finish(how: SseEnding): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.ending = how;
    this.look();
  }

  private look(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  private until(condition: () => boolean, what: string, within: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.watchers.delete(watcher);
      };
      const watcher = (): void => {
        try {
          if (!condition()) return;
        } catch (error) {
          done();
          reject(error);
          return;
        }
        done();
        resolve();
      };
      const timer = setTimeout(() => {
        done();
        const seen = this.frames.map((frame) => frame.raw.replaceAll('\n', ' | ')).join('\n  ');
        reject(
          new Error(
            `${what} did not come within ${within} ms (status ${this.status}, ${this.state}); seen:\n  ${seen}`,
          ),
        );
      }, within);
      this.watchers.add(watcher);
      watcher();
    });
  }
}

/** The encoded ids that a `history_update` names; empty for any other frame. */
export function historyIds(frame: SseFrame): string[] {
  if (frame.event !== 'history_update') return [];
  return (JSON.parse(frame.data ?? '{}') as { history_ids?: string[] }).history_ids ?? [];
}
