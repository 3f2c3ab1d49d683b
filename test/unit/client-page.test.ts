/** What a page does to its client, and a computer to both: under a fake clock. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeServer, settle } from '../support/fake-server.js';

/** Not known to the compiler here: they are of the browser, which the types of the tests are not. */
const CLIENT: string = '../../packages/client/src/client.ts';
/** The client loads them when it needs them; under a fake clock they are there before. */
const LOADED: readonly string[] = [
  '../../packages/client/src/worker.ts',
  '../../packages/client/src/history.ts',
];
const CONTENTS = '/api/histories/h/contents';
const SECOND = 1_000;

let server: FakeServer;
// biome-ignore lint/suspicious/noExplicitAny: see above
let client: any;
let document: EventTarget & { visibilityState: string };
beforeEach(async () => {
  server = new FakeServer();
  server.answers['/api/whoami'] = () => ({ id: 'alice' });
  server.answers[CONTENTS] = () => ({ since: 'a.1', up_to_date: true, start_over: false, contents: [] });
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  vi.stubGlobal('document', document);
  const [{ LightconeClient }] = await Promise.all([CLIENT, ...LOADED].map((path) => import(path)));
  client = new LightconeClient({ baseUrl: 'http://server', share: 'none' });
});
afterEach(() => {
  client.close();
  FakeServer.restore();
});

async function live(): Promise<void> {
  client.open();
  await settle();
  await server.stream.ready('1');
  expect(client.state).toBe('live');
}
/** Nothing runs meanwhile. */
const sleep = (ms: number): void => {
  vi.setSystemTime(Date.now() + ms);
};

it('a listener that fails silences no other, and ends nothing', async () => {
  const complained = vi.spyOn(console, 'error').mockReturnValue();
  const told: string[] = [];
  const fail = (state = '') => {
    if (state !== 'stopped') throw new Error('of the page');
  };
  client.onState(fail);
  client.onState((state: string) => told.push(state));
  client.on('e', fail);
  client.on('e', () => told.push('event'));
  await live();
  await server.stream.write('event: e\ndata: {}\nid: 2\n\n');
  expect(told).toEqual(['stopped', 'connecting', 'live', 'event']);
  expect(complained).toHaveBeenCalledTimes(3);
});

describe('a stream that died while the computer was asleep', () => {
  it.each(['visibilitychange', 'nothing at all'])('is opened anew at once (on %s)', async (event) => {
    await live();
    sleep(8 * 3_600 * SECOND);
    if (event === 'visibilitychange') document.dispatchEvent(new Event(event));
    else await server.pass(5 * SECOND);
    await settle();
    expect(server.streams).toHaveLength(2);
    expect([server.open, server.stream.lastEventId]).toEqual([1, '1']);
  });

  it('is not touched where it is not silent', async () => {
    await live();
    for (let n = 0; n < 6; n += 1) {
      await server.pass(10 * SECOND);
      await server.stream.write(': keepalive\n\n');
      document.dispatchEvent(new Event('visibilitychange'));
      await settle();
    }
    expect(server.streams).toHaveLength(1);
  });
});

it('a question that is never answered is asked again', async () => {
  let asked = 0;
  const { fetch } = globalThis;
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    asked += url.endsWith('/api/whoami') ? 1 : 0;
    if (asked !== 1) return fetch(url, init);
    return new Promise((_, reject) =>
      init.signal!.addEventListener('abort', () => reject(new Error('ended'))),
    );
  });
  client.open();
  await server.pass(60 * SECOND);
  expect([asked, client.state]).toEqual([1, 'connecting']);
  await server.pass(4 * SECOND);
  await server.stream.ready('1');
  expect(client.state).toBe('live');
});

describe('the view of a history', () => {
  it('is asked for again and again where there is no stream, less often when hidden, and not any more once there is one', async () => {
    server.answers['/api/configuration'] = () => ({ enable_sse_updates: false });
    client.open();
    await settle();
    expect(client.state).toBe('polling');
    const view = await client.history('h', () => {});
    const asked = async (seconds: number) => {
      const before = server.times(CONTENTS).length;
      await server.pass(seconds * SECOND);
      return server.times(CONTENTS).length - before;
    };
    await settle();
    expect(await asked(9)).toBe(3);
    document.visibilityState = 'hidden';
    expect(await asked(120)).toBe(2);
    document.visibilityState = 'visible';
    server.answers['/api/configuration'] = () => ({});
    await server.pass(60 * SECOND);
    await server.stream.ready('1');
    await settle();
    expect([client.state, await asked(10)]).toEqual(['live', 0]);
    expect(view.isUpToDate).toBe(true);
    view.close();
  });

  it('of another person shows nothing after a login, and says so', async () => {
    const row = { type_id: 'dataset-1' };
    server.answers[CONTENTS] = () => ({ since: 'a.1', up_to_date: true, start_over: true, contents: [row] });
    await live();
    const view = await client.history('h', () => {});
    await settle();
    expect(view.items.size).toBe(1);
    server.answers['/api/whoami'] = () => ({ id: 'bob' });
    server.answers[CONTENTS] = () => new Response('{}', { status: 403 });
    await server.stream.end();
    await server.pass(2 * SECOND);
    await server.stream.ready('1');
    await settle();
    expect([client.state, view.items.size, view.refused]).toEqual(['live', 0, 403]);
  });
});

it('a client that was closed is opened again as a new one', async () => {
  await live();
  client.close();
  expect([client.state, client.lastEventId, server.open]).toEqual(['stopped', '', 0]);
  await live();
  // As React does it while developing.
  client.close();
  client.open();
  client.close();
  client.open();
  await settle();
  await server.stream.ready('2');
  expect([client.state, server.open, server.stream.lastEventId]).toEqual(['live', 1, null]);
});
