/** In place of `fetch`, under a fake clock: a server whose streams the test writes, and that can be away. */
import { vi } from 'vitest';
import { Hub } from '../../packages/client/src/hub.js';
import type { StreamSettings } from '../../packages/client/src/messages.js';

export const SETTINGS: StreamSettings = {
  baseUrl: 'http://server/',
  apiKey: 'a-key',
  withCredentials: false,
  identity: '',
  keepaliveMs: 30_000,
  polling: true,
};

export class FakeStream {
  open = true;
  readonly #controller: ReadableStreamDefaultController<Uint8Array>;
  readonly response: Response;

  constructor(
    readonly lastEventId: string | null,
    signal: AbortSignal | null | undefined,
  ) {
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (its) => {
        controller = its;
      },
      cancel: () => {
        this.open = false;
      },
    });
    this.#controller = controller;
    signal?.addEventListener('abort', () => {
      if (!this.open) return;
      this.open = false;
      this.#controller.error(new Error('aborted'));
    });
    this.response = new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  }

  write(bytes: string | Uint8Array): Promise<void> {
    this.#controller.enqueue(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes);
    return settle();
  }

  ready(id: string): Promise<void> {
    return this.write(`event: ready\ndata: {}\nid: ${id}\n\n`);
  }

  end(): Promise<void> {
    this.open = false;
    this.#controller.close();
    return settle();
  }
}

const immediate = setImmediate;
/** Everything that waits for no timer has happened. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => immediate(resolve));
}

export class FakeServer {
  /** When each path was asked for, in ms since the test began. */
  readonly asked: { path: string; at: number }[] = [];
  readonly streams: FakeStream[] = [];
  /** In place of a stream. */
  refuse: (() => Response) | undefined;
  /** Of other paths; undefined: `{}`. */
  answers: Record<string, () => unknown> = {};
  readonly #began: number;

  constructor() {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
    this.#began = Date.now();
    vi.stubGlobal('fetch', (url: string, init?: RequestInit) => this.#fetch(url, init));
  }

  get stream(): FakeStream {
    return this.streams.at(-1)!;
  }

  get open(): number {
    return this.streams.filter((stream) => stream.open).length;
  }

  /** When a stream was asked for. */
  attempts(): number[] {
    return this.times('/api/events/stream');
  }

  times(path: string): number[] {
    return this.asked.filter((request) => request.path === path).map(({ at }) => at);
  }

  async pass(ms: number): Promise<void> {
    await settle();
    // In steps: a timer that is set by an answer counts from that answer.
    for (let left = ms; left > 0; left -= 100) {
      await vi.advanceTimersByTimeAsync(Math.min(100, left));
      await settle();
    }
  }

  static restore(): void {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  }

  async #fetch(url: string, init?: RequestInit): Promise<Response> {
    const { pathname, searchParams } = new URL(url);
    this.asked.push({ path: pathname, at: Date.now() - this.#began });
    if (pathname !== '/api/events/stream') {
      const body = this.answers[pathname]?.() ?? {};
      return body instanceof Response ? body : Response.json(body);
    }
    if (this.refuse) return this.refuse();
    const stream = new FakeStream(searchParams.get('last_event_id'), init?.signal);
    this.streams.push(stream);
    return stream.response;
  }
}

/** A hub that notes what it tells. */
export function notingHub(settings: Partial<StreamSettings> = {}) {
  const states: string[] = [];
  const events: [name: string, data: unknown, id: string][] = [];
  const hub = new Hub(
    { ...SETTINGS, ...settings },
    {
      onEvent: (name, data, id) => events.push([name, JSON.parse(data), id]),
      onState: (state, reason) => states.push(reason ? `${state} ${reason}` : state),
      onRefused: () => {},
    },
  );
  return { hub, states, events };
}
