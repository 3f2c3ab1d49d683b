/** When the client's one stream is opened again, and when it is not: under a fake clock. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  next,
  type Row,
  SIGNALS,
  type Signal,
  STATES,
  type State,
} from '../../packages/client/src/states.js';
import { FakeServer, notingHub, settle } from '../support/fake-server.js';

let server: FakeServer;
beforeEach(() => {
  server = new FakeServer();
});
afterEach(() => FakeServer.restore());

/** Not known to the compiler here: it is of the browser, which the types of the tests are not. */
const CLIENT: string = '../../packages/client/src/client.ts';
/** The client loads it when it opens; under a fake clock it is there before. */
const WORKER: string = '../../packages/client/src/worker.ts';

const away =
  (status: number, headers: Record<string, string> = {}) =>
  () =>
    new Response('<h1>Bad Gateway</h1>', { status, headers });
/** The waits between the attempts. */
const waits = (times: readonly number[]) => times.slice(1).map((at, index) => at - times[index]!);

async function live(settings = {}) {
  const noted = notingHub(settings);
  noted.hub.open('');
  await settle();
  await server.stream.ready('1');
  expect(noted.hub.state).toBe('live');
  return noted;
}

describe('the watchdog', () => {
  it('opens the stream anew after two keepalive periods of silence, from where it stopped', async () => {
    const { hub, states } = await live({ keepaliveMs: 10_000 });
    await server.pass(15_000);
    await server.stream.write(': keepalive\nid: 7\n\n');
    await server.pass(19_900);
    expect([hub.state, server.attempts()]).toEqual(['live', [0]]);
    await server.pass(100);
    expect([hub.state, server.attempts()]).toEqual(['stale', [0, 35_000]]);
    expect([server.streams.map(({ open }) => open), server.stream.lastEventId]).toEqual([[false, true], '7']);
    await server.stream.ready('7');
    expect(states).toEqual(['connecting', 'live', 'stale', 'catching_up']);
    hub.close();
  });

  it('minds a server that takes the connection and does not answer', async () => {
    const { hub } = notingHub({ keepaliveMs: 10_000 });
    vi.stubGlobal('fetch', () => new Promise(() => {}));
    hub.open('');
    await server.pass(20_000);
    expect(hub.state).toBe('stale');
    hub.close();
  });
});

describe('the next attempt', () => {
  it('waits a random part of 1, 2, 4 … 30 s, and begins with 1 s again after a stream', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(1);
    const { hub } = notingHub();
    server.refuse = away(502);
    hub.open('');
    await server.pass(1_000 + 2_000 + 4_000 + 8_000 + 16_000 + 30_000 + 30_000);
    expect(waits(server.attempts())).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    random.mockReturnValue(0.5);
    await server.pass(30_000 + 15_000);
    expect(waits(server.attempts()).slice(7)).toEqual([30_000, 15_000]);
    server.refuse = undefined;
    await server.pass(15_000);
    await server.stream.ready('1');
    expect(hub.state).toBe('live');
    server.refuse = away(502);
    await server.stream.write('retry: 3000\n\n');
    await server.stream.end();
    await server.pass(3_000 + 1_000);
    // First when the server said, then as after any failure.
    expect(waits(server.attempts()).slice(-2)).toEqual([3_000, 1_000]);
    hub.close();
  });

  it.each([
    ['503', '7', 7_000],
    ['429', '2', 2_000],
    ['503', 'Wed, 21 Oct 2015 07:28:00 GMT', 100],
    ['503', '-5', 100],
  ])('after %s with Retry-After %s waits at least so long', async (status, retryAfter, wait) => {
    vi.spyOn(Math, 'random').mockReturnValue(0);
    const { hub } = notingHub();
    server.refuse = away(Number(status), { 'retry-after': retryAfter });
    hub.open('');
    await server.pass(wait + 100);
    expect(waits(server.attempts())[0]).toBe(wait);
    hub.close();
  });

  it.each(['online', 'visibilitychange'])('is made at once on `%s`', async (event) => {
    vi.spyOn(Math, 'random').mockReturnValue(1);
    const [window, document] = [
      new EventTarget(),
      Object.assign(new EventTarget(), { visibilityState: 'hidden' }),
    ];
    vi.stubGlobal('window', window);
    vi.stubGlobal('document', document);
    const [{ LightconeClient }] = await Promise.all([import(CLIENT), import(WORKER)]);
    const client = new LightconeClient({ baseUrl: 'http://server', apiKey: 'a-key', share: 'none' });
    server.refuse = away(502);
    client.open();
    await server.pass(20_000);
    const before = server.attempts().length;
    server.refuse = undefined;
    document.visibilityState = 'visible';
    (event === 'online' ? window : document).dispatchEvent(new Event(event));
    await settle();
    expect(server.attempts()).toHaveLength(before + 1);
    await server.stream.ready('1');
    expect([client.state, server.open]).toEqual(['live', 1]);
    // Once it is there, neither opens another.
    (event === 'online' ? window : document).dispatchEvent(new Event(event));
    await settle();
    expect(server.streams).toHaveLength(1);
    client.close();
    expect(server.open).toBe(0);
  });
});

it('twelve tabs that say that the network is back are one attempt', async () => {
  const { hub } = await live();
  server.refuse = away(502);
  await server.stream.end();
  await server.pass(20_000);
  const before = server.attempts().length;
  server.refuse = undefined;
  for (let tab = 0; tab < 12; tab += 1) {
    hub.wake();
    await settle();
  }
  await server.stream.ready('1');
  expect([server.attempts().length, server.open, hub.state]).toEqual([before + 1, 1, 'catching_up']);
  hub.close();
});

describe('the end', () => {
  it.each([
    [204, 'stopped ended'],
    [401, 'stopped unauthorized'],
  ])('comes with %i: nothing is asked any more, and no timer is left', async (status, end) => {
    const { states } = await live();
    server.refuse = () => new Response(null, { status });
    await server.stream.end();
    await server.pass(5_000);
    expect(states.at(-1)).toBe(end);
    expect(vi.getTimerCount()).toBe(0);
    const { length } = server.asked;
    await server.pass(120_000);
    expect(server.asked).toHaveLength(length);
  });

  it('comes when the cookie speaks for somebody else', async () => {
    server.answers['/api/whoami'] = () => ({ id: 'alice' });
    const { hub, states } = await live({ apiKey: '', identity: 'alice' });
    server.answers['/api/whoami'] = () => ({ id: 'bob' });
    await server.stream.end();
    await server.pass(5_000);
    expect([hub.state, states.at(-1), server.streams.length]).toEqual(['stopped', 'stopped identity', 1]);
  });
});

describe('the table of states', () => {
  const states = Object.keys(STATES) as State[];
  const signals = Object.keys(SIGNALS) as Signal[];

  it('knows a next state for each pair', () => {
    for (const state of states)
      for (const signal of signals) expect(states, `${state} × ${signal}`).toContain(next(state, signal));
  });

  it('leads out of each state to a live stream, and out of each but `stopped` to the end', () => {
    for (const state of states) {
      const path: Signal[] = state === 'polling' || state === 'connecting' ? ['ready'] : ['open', 'ready'];
      if (state !== 'catching_up' && state !== 'live') expect(path.reduce(next, state)).toBe('live');
      expect(next(state, 'close')).toBe('stopped');
    }
  });

  it('does not compile with a pair missing, or one too many', () => {
    // Nine of ten. `npm run types` looks here.
    // @ts-expect-error
    const short: Row = ['live', 'live', 'live', 'live', 'live', 'live', 'live', 'live', 'live'];
    // @ts-expect-error
    const long: Row = [...short, 'live', 'live'];
    // @ts-expect-error a state without a row
    const rows: { readonly [From in State]: Row } = { stopped: short };
    expect([short.length, long.length, Object.keys(rows).length]).toEqual([9, 11, 1]);
    expect(signals).toHaveLength(10);
  });
});
