/** Whom the keeper of a browser's stream knows, and what it tells them: under a fake clock. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Host } from '../../packages/client/src/host.js';
import type { FromHub } from '../../packages/client/src/messages.js';
import { FakeServer, SETTINGS, settle } from '../support/fake-server.js';

let server: FakeServer;
let host: Host;
let sent: FromHub[];
let ended: boolean;
beforeEach(() => {
  server = new FakeServer();
  sent = [];
  ended = false;
  host = new Host(
    SETTINGS,
    (message) => sent.push(message),
    () => {
      ended = true;
    },
  );
});
afterEach(() => {
  host.close();
  FakeServer.restore();
});

const hello = (tab: string, more: object = {}) =>
  host.receive({
    t: 'hello',
    tab,
    settings: SETTINGS,
    seq: -1,
    cursor: '',
    watched: [],
    visible: true,
    ...more,
  });
const told = (tab: string) => sent.filter((message) => 'to' in message && message.to === tab).at(-1);
async function live(...tabs: string[]): Promise<void> {
  for (const tab of tabs) hello(tab);
  await settle();
  await server.stream.ready('1');
}
/** Keeps the stream and these tabs alive. */
async function pass(seconds: number, ...tabs: string[]): Promise<void> {
  for (let left = seconds; left > 0; left -= 10) {
    for (const tab of tabs) host.receive({ t: 'alive', tab });
    if (server.stream.open) await server.stream.write(': keepalive\n\n');
    await server.pass(10_000);
  }
}

describe('a tab that says nothing for long', () => {
  it('is forgotten, with what it watched, and introduces itself when it speaks again', async () => {
    await live('one', 'two');
    hello('two', { watched: ['h'] });
    await settle();
    const asked = () => server.times('/api/events/history-subscriptions').length;
    expect(asked()).toBe(1);
    await pass(190, 'one');
    expect(asked()).toBe(2);
    host.receive({ t: 'alive', tab: 'two' });
    // Ahead of whatever it has: so it says hello.
    expect(told('two')).toMatchObject({ t: 'alive', seq: Number.POSITIVE_INFINITY });
    host.receive({ t: 'alive', tab: 'one' });
    expect(told('one')).toMatchObject({ t: 'alive', seq: 0 });
    expect([server.streams.length, server.open]).toEqual([1, 1]);
  });

  it('ends the stream where it was the last, and nobody is told of a stop', async () => {
    await live('one');
    await pass(190);
    expect([ended, server.open]).toEqual([true, 0]);
    expect(sent.map((message) => message.t === 'state' && message.state)).not.toContain('stopped');
    host.receive({ t: 'alive', tab: 'one' });
    expect(told('one')).toMatchObject({ t: 'alive', seq: Number.POSITIVE_INFINITY });
  });

  it('is forgotten also where the clock was set back meanwhile', async () => {
    await live('one', 'two');
    vi.setSystemTime(Date.now() - 5 * 3_600_000);
    await pass(240, 'two');
    host.receive({ t: 'alive', tab: 'one' });
    expect(told('one')).toMatchObject({ t: 'alive', seq: Infinity });
    host.receive({ t: 'alive', tab: 'two' });
    expect(told('two')).toMatchObject({ t: 'alive', seq: 0 });
  });

  it('is not forgotten where the computer was asleep', async () => {
    await live('one', 'two');
    await pass(40, 'one', 'two');
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(60);
    expect([ended, server.open]).toEqual([false, 1]);
    await pass(100, 'one');
    host.receive({ t: 'alive', tab: 'two' });
    expect(told('two')).toMatchObject({ t: 'alive', seq: 0 });
  });
});

describe('a tab that missed something', () => {
  it('is told it by number, and nobody else is told it twice', async () => {
    await live('one', 'two');
    await server.stream.write('event: entry_point_update\ndata: {}\nid: 2\n\n');
    await server.stream.write('event: broadcast_update\ndata: {"n":1}\nid: 3\n\n');
    sent.length = 0;
    hello('two', { seq: 1, cursor: '2' });
    expect(sent).toMatchObject([
      { t: 'event', to: 'two', seq: 2, name: 'broadcast_update', id: '3' },
      { t: 'state', to: 'two', state: 'live', seq: 2 },
    ]);
    expect(server.streams).toHaveLength(1);
  });

  it('has the stream opened again from its cursor where that is not remembered any more', async () => {
    await live('one', 'two');
    for (let n = 2; n < 205; n += 1)
      await server.stream.write(`event: entry_point_update\ndata: {}\nid: ${n}\n\n`);
    hello('two', { seq: 1, cursor: '2' });
    await settle();
    expect([server.open, server.stream.lastEventId]).toEqual([1, '2']);
  });
});

it('a host that hands its stream on tells nobody of a stop', async () => {
  await live('one', 'two');
  sent.length = 0;
  host.close();
  expect([sent, server.open]).toEqual([[], 0]);
});

it('counts from 0 where the tab that begins to lead has no number yet: the first event can be asked for, too', async () => {
  host.close();
  host = new Host(
    SETTINGS,
    (message) => sent.push(message),
    () => {},
    { seq: -1, events: [] },
  );
  await live('one');
  expect(told('one')).toMatchObject({ t: 'state', seq: 0 });
  await server.stream.write('event: entry_point_update\ndata: {}\nid: 2\n\n');
  hello('one', { seq: 0, cursor: '1' });
  expect(sent.at(-2)).toMatchObject({ t: 'event', to: 'one', seq: 1 });
});
