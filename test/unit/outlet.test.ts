import { Writable } from 'node:stream';
import { expect, it, vi } from 'vitest';
import { Tab } from '../../src/connections/tabs/tab.js';
import { TabWriter } from '../../src/connections/writing/tab-writer.js';
import type { Principal } from '../../src/core/events.js';
import { EventId, eventFrame } from '../../src/events/frame.js';

const PRINCIPAL = { userId: 1, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } } as const;
const eventId = new EventId(1);

it('an error on the way to one tab ends that one, and the others get what is theirs', async () => {
  const got: string[] = [];
  const failed = vi.fn();
  const writer = new TabWriter(10, () => {}, failed);
  const tabs = [0, 1, 2].map((number) => {
    const out = new Writable({
      write: (bytes: Buffer, _encoding, done) => {
        got.push(`${number}: ${bytes.toString().slice(0, 23)}`);
        done();
      },
    });
    const tab = new Tab(out, false, PRINCIPAL, eventId, undefined);
    writer.begin(tab, '');
    return tab;
  });
  const error = new Error('a fault of ours');
  tabs[1]!.out.write = () => {
    throw error;
  };
  got.length = 0;
  for (const tab of tabs) writer.put(tab, eventFrame('broadcast_update', '{}', eventId));
  await new Promise((resolve) => setImmediate(resolve));
  expect(got).toEqual(['0: event: broadcast_update', '2: event: broadcast_update']);
  expect(failed.mock.calls).toEqual([[tabs[1], error]]);
});

it('a large broadcast holds up nothing that comes after it, and each tab gets everything in order', async () => {
  const got: string[][] = [];
  const writer = new TabWriter(10, () => {}, vi.fn());
  const order: number[] = [];
  const tabs = Array.from({ length: 200 }, (_, number) => {
    got[number] = [];
    const out = new Writable({
      write: (bytes: Buffer, _encoding, done) => {
        got[number]!.push(...[...bytes.toString().matchAll(/"n":(\d)/g)].map(([, n]) => n!));
        if (bytes.toString().includes('"n":2')) order.push(number);
        done();
      },
    });
    const tab = new Tab(out, false, PRINCIPAL, eventId, undefined);
    writer.begin(tab, '');
    return tab;
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const broadcast = eventFrame('broadcast_update', `{"n":1,"text":"${'x'.repeat(100_000)}"}`, eventId);
  for (const tab of tabs) writer.put(tab, broadcast);
  await turn();
  const first = tabs[0]!;
  const last = tabs.at(-1)!;
  expect(got.filter(({ length }) => length === 1).length).toBeLessThan(100);
  for (const tab of [last, first]) writer.put(tab, eventFrame('history_update', '{"n":2}', eventId));
  await turn();
  // Whoever has the broadcast already waits for nobody; whoever has not gets both, in order.
  expect(order).toEqual([0]);
  await expect.poll(() => got.at(-1)).toEqual(['1', '2']);
  expect(
    got.every((events, number) => events.join() === (number === 0 || number === 199 ? '1,2' : '1')),
  ).toBe(true);
});

it('users do not wait for what strangers are sent', async () => {
  const got: string[] = [];
  const writer = new TabWriter(10, () => {}, vi.fn());
  const tabOf = (principal: Principal, name: string): Tab => {
    const out = new Writable({
      write: (bytes: Buffer, _encoding, done) => {
        if (bytes.toString().includes('"n":2')) got.push(name);
        done();
      },
    });
    const tab = new Tab(out, false, principal, eventId, undefined);
    writer.begin(tab, '');
    return tab;
  };
  const strangers = Array.from({ length: 500 }, () =>
    tabOf({ ...PRINCIPAL, userId: undefined }, 'a stranger'),
  );
  const user = tabOf(PRINCIPAL, 'a user');
  const all = [...strangers, user];
  const broadcast = (n: number) =>
    eventFrame('broadcast_update', `{"n":${n},"text":"${'x'.repeat(100_000)}"}`, eventId);
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const first = broadcast(1);
  for (const tab of all) writer.put(tab, first);
  await turn();
  const second = broadcast(2);
  for (const tab of all) writer.put(tab, second);
  await turn();
  expect(got[0]).toBe('a user');
  // Nor do strangers wait for ever.
  await expect.poll(() => got.length, { timeout: 10_000 }).toBe(all.length);
});
