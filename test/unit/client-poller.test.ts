/** Asking in the old way while no stream can be had: how often, what comes of it, and when it ends; under a fake clock. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeServer, notingHub, settle } from '../support/fake-server.js';

const HISTORY = '/history/current_history_json';
const ENTRY_POINTS = '/api/entry_points';
const NOTIFICATIONS = '/api/notifications/status';

let server: FakeServer;
beforeEach(() => {
  server = new FakeServer();
  vi.spyOn(Math, 'random').mockReturnValue(1);
});
afterEach(() => FakeServer.restore());

const switchedOff = () => ({ enable_sse_updates: false });
const gaps = (path: string) =>
  server
    .times(path)
    .slice(1)
    .map((at, index) => at - server.times(path)[index]!);

async function polling() {
  server.answers['/api/configuration'] = switchedOff;
  const noted = notingHub();
  noted.hub.open('');
  await settle();
  expect(noted.hub.state).toBe('polling');
  return noted;
}

describe('how often', () => {
  it('in view: the history every 3 s, entry points every 10 s, notifications every 30 s', async () => {
    const { hub } = await polling();
    await server.pass(61_000);
    expect(new Set(gaps(HISTORY))).toEqual(new Set([3_000]));
    expect(gaps(ENTRY_POINTS)).toEqual(Array(6).fill(10_000));
    expect(gaps(NOTIFICATIONS)).toEqual([30_000, 30_000]);
    hub.close();
  });

  it('out of view: every 60 s, 60 s and 10 min; at once when a page comes into view', async () => {
    const { hub } = await polling();
    hub.watch(new Set(), false);
    await server.pass(600_000);
    // The first gap is that between the last question in view and the first out of it.
    expect(gaps(HISTORY).slice(1)).toEqual(Array(10).fill(60_000));
    expect(gaps(ENTRY_POINTS).slice(1)).toEqual(Array(10).fill(60_000));
    expect(gaps(NOTIFICATIONS).slice(1)).toEqual([600_000]);
    const before = server.times(HISTORY).length;
    hub.watch(new Set(), true);
    await settle();
    expect(server.times(HISTORY)).toHaveLength(before + 1);
    hub.close();
  });

  it('watched histories of others with the current one', async () => {
    const { hub } = await polling();
    hub.watch(new Set(['h1', 'h2']), true);
    await server.pass(9_000);
    for (const id of ['h1', 'h2']) expect(new Set(gaps(`/api/histories/${id}`))).toEqual(new Set([3_000]));
    hub.close();
  });
});

describe('what comes of it', () => {
  it('the same events as over a stream, each once', async () => {
    const history = { id: 'h', update_time: '2026-01-01T00:00:00.000001' };
    let points: unknown[] = [];
    let status: unknown = { total_unread_count: 0, notifications: [], broadcasts: [] };
    Object.assign(server.answers, {
      [HISTORY]: () => history,
      [ENTRY_POINTS]: () => points,
      [NOTIFICATIONS]: () => status,
    });
    const { hub, events } = await polling();
    await server.pass(31_000);
    // What it finds at first counts as news: nobody knows since when it is so.
    const first = ['history_update', { history_ids: ['h'], update_time: history.update_time }, ''];
    expect(events).toEqual([first]);
    history.update_time = '2026-01-01T00:00:00.000002';
    points = [{ name: 'Jupyter' }];
    status = { total_unread_count: 1, notifications: [{ id: 'n' }], broadcasts: [] };
    await server.pass(90_000);
    expect(events.slice(1).map(([name, data]) => [name, data])).toEqual([
      ['history_update', { history_ids: ['h'], update_time: history.update_time }],
      ['entry_point_update', {}],
      ['notification_status', status],
    ]);
    hub.close();
  });

  it('nothing of errors and of pages that a proxy answers with', async () => {
    const page = () => new Response('<h1>Bad Gateway</h1>', { status: 502 });
    Object.assign(server.answers, { [HISTORY]: page, [ENTRY_POINTS]: page, [NOTIFICATIONS]: page });
    const { hub, events } = await polling();
    await server.pass(61_000);
    expect([events, hub.state]).toEqual([[], 'polling']);
    hub.close();
  });
});

describe('when', () => {
  it('from 60 s without a stream on, while it is tried all the time; not any more with the first that opens', async () => {
    const { hub, states } = notingHub();
    server.refuse = () => new Response('', { status: 503 });
    hub.open('');
    await server.pass(59_900);
    expect([hub.state, server.times(HISTORY)]).toEqual(['connecting', []]);
    await server.pass(200);
    expect([hub.state, server.times(HISTORY)]).toEqual(['polling', [60_000]]);
    const before = server.attempts().length;
    await server.pass(60_000);
    expect(server.attempts().length).toBeGreaterThan(before);
    server.refuse = undefined;
    await server.pass(30_000);
    await server.stream.ready('1');
    expect(states).toEqual(['connecting', 'polling', 'live']);
    const { length } = server.times(HISTORY);
    await server.stream.write(': keepalive\n\n');
    await server.pass(30_000);
    expect([server.times(HISTORY).length, server.open]).toEqual([length, 1]);
    hub.close();
  });

  it('a stream that was lost for less than that makes nobody ask', async () => {
    const { hub } = notingHub();
    hub.open('');
    await settle();
    await server.stream.ready('1');
    server.refuse = () => new Response('', { status: 503 });
    await server.stream.end();
    await server.pass(20_000);
    server.refuse = undefined;
    await server.pass(20_000);
    await server.stream.ready('2');
    await server.pass(1_000);
    expect([hub.state, server.times(HISTORY)]).toEqual(['catching_up', []]);
    hub.close();
  });

  it('never with `polling: false`', async () => {
    const { hub } = notingHub({ polling: false });
    server.refuse = () => new Response('', { status: 503 });
    hub.open('');
    await server.pass(180_000);
    expect([hub.state, server.times(HISTORY)]).toEqual(['connecting', []]);
    hub.close();
  });

  it('looks once a minute whether the server has streams again', async () => {
    const { hub } = await polling();
    await server.pass(125_000);
    expect(server.times('/api/configuration')).toEqual([0, 60_000, 120_000]);
    server.answers['/api/configuration'] = () => ({ enable_sse_updates: true });
    await server.pass(60_000);
    await server.stream.ready('1');
    expect([hub.state, server.open]).toEqual(['live', 1]);
    hub.close();
  });
});
