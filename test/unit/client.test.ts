import { beforeEach, describe, expect, test } from 'vitest';
import type { Browser, EventSourceLike, MessageLike } from '../../src/client/browser.js';
import { type ClientOptions, LightconeClient } from '../../src/client/lightcone-client.js';

/** A browser whose time, network and page we own. */
class FakeBrowser {
  sources: FakeSource[] = [];
  requests: { method: string; url: string; body: { history_ids: string[] } }[] = [];
  /** HTTP status of the next answers; 0 = no network. */
  answer: (ids: string[]) => number = () => 204;
  now = 0;
  #timers = new Map<number, { at: number; callback: () => void }>();
  #nextTimer = 1;
  readonly #targets = new Map<string, Set<(event: { persisted?: boolean }) => void>>();
  readonly document: Browser['document'] & { visibilityState: string };
  readonly browser: Browser;

  constructor() {
    const sources = this.sources;
    const target = {
      addEventListener: (type: string, listener: (event: { persisted?: boolean }) => void) => {
        if (!this.#targets.has(type)) this.#targets.set(type, new Set());
        this.#targets.get(type)!.add(listener);
      },
      removeEventListener: (type: string, listener: (event: { persisted?: boolean }) => void) => {
        this.#targets.get(type)?.delete(listener);
      },
    };
    this.document = { ...target, visibilityState: 'visible' };
    this.browser = {
      EventSource: class extends FakeSource {
        constructor(url: string) {
          super(url);
          sources.push(this);
        }
      },
      fetch: async (url, { method, body }) => {
        const parsed = JSON.parse(body as string);
        this.requests.push({ url, method: method as string, body: parsed });
        const status = this.answer(parsed.history_ids);
        if (status === 0) throw new TypeError('no network');
        return { ok: status < 300, status };
      },
      setTimeout: (callback, ms) => {
        this.#timers.set(this.#nextTimer, { at: this.now + ms, callback });
        return this.#nextTimer++;
      },
      clearTimeout: (timer) => this.#timers.delete(timer as number),
      random: () => 0.5,
      window: target,
      document: this.document,
    };
  }

  get source(): FakeSource {
    return this.sources.at(-1)!;
  }

  get openSources(): number {
    return this.sources.filter(({ readyState }) => readyState !== 2).length;
  }

  get listeners(): number {
    return [...this.#targets.values()].reduce((sum, { size }) => sum + size, 0);
  }

  get timers(): number {
    return this.#timers.size;
  }

  fire(type: string, event: { persisted?: boolean } = {}): void {
    for (const listener of [...(this.#targets.get(type) ?? [])]) listener(event);
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.now = due[1].at;
      due[1].callback();
    }
    this.now = end;
  }
}

class FakeSource implements EventSourceLike {
  readyState = 0;
  readonly #listeners = new Map<string, (event: MessageLike) => void>();
  constructor(readonly url: string) {}
  addEventListener(type: string, listener: (event: MessageLike) => void): void {
    this.#listeners.set(type, listener);
  }
  close(): void {
    this.readyState = 2;
  }
  send(type: string, data = '{}', lastEventId = ''): void {
    this.readyState = 1;
    this.#listeners.get(type)?.({ data, lastEventId });
  }
  fail(readyState: 0 | 2): void {
    this.readyState = readyState;
    this.#listeners.get('error')?.({ data: '', lastEventId: '' });
  }
}

let fake: FakeBrowser;
beforeEach(() => {
  fake = new FakeBrowser();
});
const connect = (options: ClientOptions = {}): LightconeClient => {
  const client = new LightconeClient({ browser: fake.browser, ...options });
  client.open();
  return client;
};
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the client', () => {
  test('asks under the base URL, with the key', () => {
    connect({ baseUrl: 'https://example.org/galaxy/', apiKey: 'a&b' });
    expect(fake.source.url).toBe('https://example.org/galaxy/api/events/stream?key=a%26b');
  });

  test('hands events to those who listen for them, until they stop', () => {
    const client = connect();
    const seen: unknown[] = [];
    const stop = client.on('history_update', (data) => seen.push(data));
    fake.source.send('history_update', '{"history_ids":["a"]}');
    fake.source.send('entry_point_update');
    stop();
    fake.source.send('history_update', '{"history_ids":["b"]}');
    expect(seen).toEqual([{ history_ids: ['a'] }]);
  });

  test('goes on when an event is not JSON', () => {
    const client = connect();
    const seen: unknown[] = [];
    client.on('broadcast_update', (data) => seen.push(data));
    fake.source.send('broadcast_update', '{');
    fake.source.send('broadcast_update', '{"id":1}');
    expect(seen).toEqual([{ id: 1 }]);
  });

  test('tells how the connection is', () => {
    const client = connect();
    const states: string[] = [client.status];
    client.onStatus((status) => states.push(status));
    fake.source.send('ready');
    fake.source.fail(0);
    fake.source.send('ready');
    client.close();
    expect(states).toEqual(['connecting', 'open', 'connecting', 'open', 'closed']);
  });

  test('opens one connection however often it is asked to', () => {
    const client = connect();
    client.open();
    expect(fake.sources).toHaveLength(1);
  });

  test('leaves nothing behind when closed', () => {
    const client = connect({ poll: () => {} });
    fake.source.fail(2);
    client.close();
    expect({ listeners: fake.listeners, timers: fake.timers, open: fake.openSources }).toEqual({
      listeners: 0,
      timers: 0,
      open: 0,
    });
  });
});

describe('after the server refused', () => {
  test('it tries again after 1, 2, 4, … and at most 30 seconds, and after 1 again once it worked', () => {
    connect();
    const waits = [1, 2, 4, 8, 16, 30, 30];
    for (const seconds of waits) {
      fake.source.fail(2);
      const before = fake.sources.length;
      fake.advance(seconds * 1000 - 1);
      expect(fake.sources).toHaveLength(before);
      fake.advance(1);
      expect(fake.sources).toHaveLength(before + 1);
    }
    fake.source.send('ready');
    fake.source.fail(2);
    fake.advance(1000);
    expect(fake.sources).toHaveLength(waits.length + 2);
  });

  test('it says where it stopped, which a new EventSource does not know', () => {
    const client = connect();
    fake.source.send('ready', '{}', '2026-07-01T12:00:00');
    fake.source.send('history_update', '{"history_ids":["a"]}', '2026-07-01T12:34:56.789012');
    fake.source.send('history_update', '{"history_ids":["a"]}');
    fake.source.fail(2);
    fake.advance(1000);
    expect(client.lastEventId).toBe('2026-07-01T12:34:56.789012');
    expect(fake.source.url).toBe('/api/events/stream?last_event_id=2026-07-01T12%3A34%3A56.789012');
  });

  test('it does not wait when the page is looked at again or the network is back', () => {
    connect();
    for (const event of ['visibilitychange', 'online']) {
      fake.source.fail(2);
      const before = fake.sources.length;
      fake.fire(event);
      expect(fake.sources).toHaveLength(before + 1);
      expect(fake.openSources).toBe(1);
      fake.advance(60_000);
      expect(fake.sources).toHaveLength(before + 1);
    }
  });

  test('it leaves a connection that works alone when the page is looked at again', () => {
    connect();
    fake.source.send('ready');
    fake.fire('visibilitychange');
    expect(fake.sources).toHaveLength(1);
  });

  test('it waits while the page is hidden', () => {
    connect();
    fake.source.fail(2);
    fake.document.visibilityState = 'hidden';
    fake.fire('visibilitychange');
    expect(fake.sources).toHaveLength(1);
  });
});

describe('a page that is left', () => {
  test('holds no connection, and gets it back with its cursor when it is shown again', () => {
    const client = connect();
    fake.source.send('ready', '{}', '2026-07-01T12:00:00');
    fake.fire('pagehide');
    expect(fake.openSources).toBe(0);
    expect(client.status).toBe('closed');
    fake.fire('pageshow', { persisted: true });
    expect(fake.openSources).toBe(1);
    expect(fake.source.url).toContain('last_event_id=2026-07-01T12%3A00%3A00');
  });

  test('does not connect twice when it is loaded for the first time', () => {
    connect();
    fake.fire('pageshow', { persisted: false });
    expect(fake.sources).toHaveLength(1);
  });
});

describe('watched histories', () => {
  const ids = () => fake.requests.map(({ method, body }) => [method, ...body.history_ids]);

  test('are subscribed once for two views, and let go with the last', () => {
    const client = connect({ apiKey: 'k' });
    fake.source.send('ready');
    const first = client.watchHistory('a');
    const second = client.watchHistory('a');
    first();
    first();
    expect(ids()).toEqual([['POST', 'a']]);
    second();
    expect(ids()).toEqual([
      ['POST', 'a'],
      ['DELETE', 'a'],
    ]);
  });

  test('are told to the server again after each connect, 200 at a time', () => {
    const client = connect();
    for (let index = 0; index < 201; index += 1) client.watchHistory(String(index));
    expect(fake.requests).toHaveLength(0);
    fake.source.send('ready');
    fake.source.fail(0);
    fake.source.send('ready');
    expect(fake.requests.map(({ body }) => body.history_ids.length)).toEqual([200, 1, 200, 1]);
  });

  test('that are refused are named, and do not silence the others', async () => {
    const refused: unknown[] = [];
    const client = connect({ onRefused: (id, status) => refused.push([id, status]) });
    for (const id of ['a', 'b', 'c']) client.watchHistory(id);
    fake.answer = (batch) => (batch.includes('b') ? 403 : 204);
    fake.source.send('ready');
    await settled();
    expect(ids()).toEqual([
      ['POST', 'a', 'b', 'c'],
      ['POST', 'a'],
      ['POST', 'b'],
      ['POST', 'c'],
    ]);
    expect(refused).toEqual([['b', 403]]);
  });

  test.each([0, 503])('are asked for again when the answer is %i', async (status) => {
    const client = connect();
    client.watchHistory('a');
    fake.answer = () => status;
    fake.source.send('ready');
    await settled();
    fake.answer = () => 204;
    fake.advance(5_000);
    expect(ids()).toEqual([
      ['POST', 'a'],
      ['POST', 'a'],
    ]);
  });
});

describe('polling', () => {
  test('stands in while no stream is open, and stops when one is', () => {
    let polls = 0;
    connect({ poll: () => (polls += 1), pollAfterMs: 10_000, pollEveryMs: 3_000 });
    for (let second = 0; second < 10; second += 1) {
      fake.source.fail(2);
      fake.advance(999);
    }
    expect(polls).toBe(0);
    fake.source.fail(2);
    fake.advance(10);
    expect(polls).toBe(1);
    fake.advance(3_000);
    expect(polls).toBe(2);
    fake.fire('online');
    fake.source.send('ready');
    fake.advance(60_000);
    expect(polls).toBe(2);
  });

  test('is not needed for a short interruption', () => {
    let polls = 0;
    connect({ poll: () => (polls += 1) });
    fake.source.send('ready');
    fake.source.fail(0);
    fake.advance(5_000);
    fake.source.send('ready');
    fake.advance(60_000);
    expect(polls).toBe(0);
  });
});
