/**
 * What anybody with an account on the broker can publish, and a process of ours with a wrong clock can say. A broker account
 * may say that a history changed (docs/security.md); it may not stop, silence or mislead anybody.
 */
import { type ConfirmChannel, connect } from 'amqplib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeTask, encodeTick } from '../../src/bus/wire/codec.js';
import { MOST_VIEWED } from '../../src/connections/routing/viewers.js';
import { parseIso } from '../../src/lib/time.js';
import { seeded } from '../faults/random.js';
import { amqpBus, broadcast } from '../support/bus.js';
import { eventually } from '../support/eventually.js';
import { DEMO, ID_SECRET, Installation, type RunningWorker, type Settings } from '../support/installation.js';
import { createVhost } from '../support/rabbitmq.js';
import { sharedService } from '../support/services.js';

const LONG = process.env.LIGHTCONE_FAULTS === 'long';
const INPUTS = LONG ? 100_000 : 3_000;
const EXCHANGE = 'galaxy_core_exchange';
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function account(url: string): Promise<{ channel: ConfirmChannel; close(): Promise<void> }> {
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();
  return { channel, close: () => connection.close() };
}

const VALID = [
  encodeTask({
    task: 'history_update',
    userUpdates: new Map([[7, [1, 2]]]),
    sessionUpdates: new Map([[8, [3]]]),
  }),
  encodeTask({ task: 'notify_users', userIds: [7, 9], payload: '{"id":"x"}', eventId: 'e' }),
  encodeTask({ task: 'notify_broadcast', payload: '{}' }),
  encodeTask({ task: 'entry_point_update', userId: 7 }),
  encodeTask({ task: 'subscribe_history_viewer', historyId: 'f7bb1edd6b95db62', userId: 7 }),
  encodeTask({ task: 'reconfigure_watcher' }),
  encodeTick({ leader: 'a', sequence: 1, until: 1_800_000_000_000_000 }, 'not the secret'),
];
const PIECES = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  'null',
  'true',
  '-1',
  '1e999',
  '9007199254740993',
  '\u0000',
  '\r\n',
  '__proto__',
  'é',
  '[[[[[[[[',
];

/** A valid body with some of its bytes replaced, removed, doubled, or something put in between. */
function mutated(random: () => number): Buffer {
  let body = VALID[Math.floor(random() * VALID.length)]!;
  for (let times = 1 + Math.floor(random() * 3); times > 0; times -= 1) {
    const [a, b] = [random(), random()].map((it) => Math.floor(it * (body.length + 1))).sort((x, y) => x - y);
    const piece = Buffer.from(PIECES[Math.floor(random() * PIECES.length)]!);
    const middle =
      random() < 0.4 ? piece : random() < 0.5 ? body.subarray(a, Math.min(b!, a! + 40)) : Buffer.alloc(0);
    body = Buffer.concat([body.subarray(0, random() < 0.5 ? a : b), middle, body.subarray(b)]);
  }
  return body;
}

describe('the subscription of a worker', () => {
  it(`takes ${INPUTS} damaged tasks and ticks (HOSTILE_SEED): each is counted, few lines are written, and it goes on`, async () => {
    const random = seeded(Number(process.env.HOSTILE_SEED ?? 15));
    const vhost = await createVhost(await sharedService('rabbitmq'));
    const { bus, recorder, metrics, lines } = amqpBus(vhost.amqpUrl);
    await bus.start();
    const stranger = await account(vhost.amqpUrl);
    const keys = ['control.*', 'web.control', 'lightcone.tick', 'lightcone.probe', 'sse.u7', ''];
    const types = [undefined, 'application/json', 'application/x-python-serialize', 'text/plain'];
    const rss: number[] = [];
    let probes = 0;
    for (let i = 0; i < INPUTS; i += 1) {
      const key = keys[Math.floor(random() * keys.length)]!;
      if (key === 'lightcone.probe') probes += 1;
      const contentType = types[Math.floor(random() * types.length)];
      stranger.channel.publish(EXCHANGE, key, mutated(random), {
        ...(contentType !== undefined && { contentType }),
        contentEncoding: random() < 0.2 ? 'gzip' : 'utf-8',
        headers: { epoch: random() < 0.5 ? 'x' : { deep: [1, { a: null }] } },
        ...(random() < 0.1 && { expiration: '0' }),
      });
      if (i % 500 === 499) {
        await stranger.channel.waitForConfirms();
        rss.push(process.memoryUsage().rss);
      }
    }
    await stranger.channel.waitForConfirms();
    await stranger.close();
    await bus.publish(broadcast('the end'));
    await eventually(
      () => recorder.received.some((it) => JSON.stringify(it) === JSON.stringify(broadcast('the end'))),
      {
        within: 20_000,
        what: 'the task after all the others',
      },
    );
    expect(recorder.received.filter((it) => typeof it === 'string')).toEqual([]);
    const taken = metrics.total('galaxy.sse.tasks.received');
    const invalid = metrics.total('galaxy.sse.tasks.invalid');
    expect(invalid).toBeGreaterThan(INPUTS / 4);
    // What expired at once, and Galaxy's own tasks, are neither.
    expect(taken - 1 + invalid + probes).toBeLessThanOrEqual(INPUTS);
    expect(taken - 1 + invalid + probes).toBeGreaterThan(INPUTS * 0.8);
    expect(recorder.received.some((it) => typeof it === 'object' && 'sequence' in it)).toBe(false);
    expect(lines.filter(({ level }) => level === 40).length).toBeLessThan(12 * (1 + lines.length / 1_000));
    if (LONG) expect(rss.at(-1)! - rss[2]!).toBeLessThan(100 * 1024 * 1024);
    await bus.stop();
    await vhost.delete();
  }, 300_000);

  it.each([
    ['a body of 20 MB', Buffer.alloc(20_000_000, 0x20), 'malformed'],
    [
      '100,000 lists in each other',
      Buffer.from(
        `{"task":"notify_users","kwargs":{"user_ids":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`,
      ),
      'malformed',
    ],
    [
      '100,000 objects in each other',
      Buffer.from(`${'{"task":'.repeat(100_000)}1${'}'.repeat(100_000)}`),
      'malformed',
    ],
    ['lists that do not end', Buffer.from('['.repeat(5_000_000)), 'malformed'],
    ['a few lists that do not end', Buffer.from('['.repeat(50_000)), 'not_json'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0xc0, 0x80]), 'not_json'],
    [
      'a million users',
      Buffer.from(`{"task":"notify_users","kwargs":{"user_ids":[${'1,'.repeat(1_000_000)}"x"]}}`),
      'malformed',
    ],
  ])('%s is dropped and counted, and the next task comes at once', async (_what, body, reason) => {
    const vhost = await createVhost(await sharedService('rabbitmq'));
    const { bus, recorder, metrics } = amqpBus(vhost.amqpUrl);
    await bus.start();
    const stranger = await account(vhost.amqpUrl);
    stranger.channel.publish(EXCHANGE, 'control.*', body);
    await stranger.channel.waitForConfirms();
    await stranger.close();
    const at = performance.now();
    await bus.publish(broadcast('{}'));
    await eventually(() => recorder.received.length > 0, { within: 3_000 });
    expect(performance.now() - at).toBeLessThan(2_000);
    expect(recorder.received).toEqual([broadcast('{}')]);
    expect(metrics.total('galaxy.sse.tasks.invalid', { reason })).toBe(1);
    await bus.stop();
    await vhost.delete();
  });
});

describe('a whole worker', () => {
  let here: Installation;
  let worker: RunningWorker;
  let stranger: Awaited<ReturnType<typeof account>>;
  beforeEach(async () => {
    here = await Installation.production();
    worker = await here.worker();
    stranger = await account(here.vhost!.amqpUrl);
  });
  afterEach(async () => {
    await stranger.close();
    await here.close();
  });
  const stopAndStart = async (settings: Settings): Promise<void> => {
    await here.stopWorkers();
    worker = await here.worker(settings);
  };
  const publish = async (key: string, body: Buffer): Promise<void> => {
    stranger.channel.publish(EXCHANGE, key, body, { contentType: 'application/json' });
    await stranger.channel.waitForConfirms();
  };
  const counted = async (reason: string): Promise<number> => {
    const text = await (await fetch(`${worker.url}/metrics`)).text();
    const line = text.split('\n').find((it) => it.includes('tasks_invalid') && it.includes(`"${reason}"`));
    return Number(line?.split(' ').at(-1) ?? 0);
  };
  const changeIsTold = async (): Promise<{ id: string }> => {
    const tab = await here.stream(worker.url);
    await here.change(DEMO.histories.alice);
    const frame = await tab.waitForHistory(here.encode(DEMO.histories.alice));
    return { id: frame.id! };
  };
  const now = (): number => Date.now() * 1000;

  it.each([
    ['a year ahead', 31_536_000],
    ['a minute ahead', 60],
  ])(
    'is not led on by a tick of its own installation that is %s: it is dropped, counted and named',
    async (_what, ahead) => {
      const until = now() + ahead * 1_000_000;
      for (let sequence = 1; sequence <= 5; sequence += 1) {
        await publish('lightcone.tick', encodeTick({ leader: 'wrong clock', sequence, until }, ID_SECRET));
      }
      await eventually(async () => (await counted('tick_ahead')) === 5);
      expect(JSON.stringify(worker.lines)).toContain('"leader":"wrong clock"');
      const { id } = await changeIsTold();
      expect(parseIso(id)!).toBeLessThan(now() + 2_000_000);
    },
  );

  it('takes no tick from whoever does not know the id_secret, and goes on with the true ones', async () => {
    const until = now() + 3_000_000;
    for (let sequence = 1; sequence <= 5; sequence += 1) {
      await publish('lightcone.tick', encodeTick({ leader: 'stranger', sequence, until }, 'a guess'));
    }
    await eventually(async () => (await counted('forged_tick')) === 5);
    expect(JSON.stringify(worker.lines)).toContain('id_secret');
    const first = parseIso((await changeIsTold()).id)!;
    await pause(3_000);
    expect(parseIso((await changeIsTold()).id)!).toBeGreaterThan(first);
    expect((await fetch(`${worker.url}/readyz`)).status).toBe(200);
  });

  it('reads the database once a second at most, and lets ids go on, however many old ticks are replayed', async () => {
    const old = Array.from({ length: 12 }, (_, i) =>
      encodeTick({ leader: `old leader ${i}`, sequence: 5_000, until: now() - 3_600_000_000 }, ID_SECRET),
    );
    const first = parseIso((await changeIsTold()).id)!;
    const at = performance.now();
    for (let i = 0; performance.now() - at < 5_000; i += 1) {
      await publish('lightcone.tick', old[i % old.length]!);
      await pause(10);
    }
    const repaired = worker.lines.filter(({ msg }) => String(msg).startsWith('gap repaired')).length;
    expect(repaired).toBeGreaterThan(0);
    expect(repaired).toBeLessThanOrEqual(7);
    expect(parseIso((await changeIsTold()).id)!).toBeGreaterThan(first);
  });

  it('keeps ids going forward, and loses nothing, while true ticks and notices are recorded and sent again', async () => {
    const { queue } = await stranger.channel.assertQueue('', { exclusive: true });
    const recorded: { key: string; body: Buffer }[] = [];
    for (const key of ['lightcone.tick', 'lightcone.notice'])
      await stranger.channel.bindQueue(queue, EXCHANGE, key);
    await stranger.channel.consume(
      queue,
      (message) => {
        if (message) recorded.push({ key: message.fields.routingKey, body: message.content });
      },
      { noAck: true },
    );
    const alice = await here.stream(worker.url);
    const bob = await here.stream(worker.url, 'key=demo-bob');
    await eventually(() => recorded.length > 6, { within: 10_000, what: 'ticks and notices' });
    const taken = recorded.slice();
    const random = seeded(7);
    const { database } = worker.worker as unknown as { database: { statements: number } };
    const before = database.statements;
    const at = performance.now();
    let [sent, changes] = [0, 0];
    for (; performance.now() - at < 6_000; await pause(20)) {
      for (let i = 0; i < 40; i += 1, sent += 1) {
        const { key, body } = taken[Math.floor(random() * taken.length)]!;
        stranger.channel.publish(EXCHANGE, key, body, { contentType: 'application/json' });
      }
      await stranger.channel.waitForConfirms();
      if (performance.now() - at < changes * 1_000) continue;
      const from = alice.frames.length;
      changes += 1;
      await here.change(DEMO.histories.alice);
      await alice.waitForHistory(here.encode(DEMO.histories.alice), { from });
    }
    expect(sent).toBeGreaterThan(1_000);
    expect(changes).toBeGreaterThan(3);
    const ids = alice.frames.flatMap(({ id }) => (id === undefined ? [] : [parseIso(id)!]));
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(ids.at(-1)!).toBeGreaterThan(ids[0]! + 3_000_000);
    // Nobody else is told to look, and the database is not asked for each of them.
    expect(bob.frames.filter(({ event }) => event === 'history_update')).toEqual([]);
    expect((database.statements - before) / (changes * 20 + 6 * 20)).toBeLessThan(1);
    expect(worker.lines.length).toBeLessThan(200);
    expect((await fetch(`${worker.url}/readyz`)).status).toBe(200);
  }, 30_000);

  it('bears a flood of viewers, who see what they may not until they are looked at, and others are told in time', async () => {
    await stopAndStart({ sse: { permission_check_interval: 2 } });
    const streams = [await here.stream(worker.url), await here.stream(worker.url, 'key=demo-bob')];
    const { viewers } = worker.worker.manager;
    const { database } = worker.worker as unknown as { database: { statements: number } };
    const [before, at] = [database.statements, performance.now()];
    const late: number[] = [];
    for (let i = 0; i < 20_000; i += 1) {
      const historyId = here.encode(100_000 + i);
      const userId = [DEMO.users.alice, DEMO.users.bob, DEMO.users.admin, 4_711][i % 4]!;
      stranger.channel.publish(
        EXCHANGE,
        'control.*',
        encodeTask({ task: 'subscribe_history_viewer', historyId, userId }),
        { contentType: 'application/json' },
      );
      if (i % 2_000 !== 1_999) continue;
      await stranger.channel.waitForConfirms();
      const [from, said] = [streams[0]!.frames.length, performance.now()];
      await here.change(DEMO.histories.alice);
      await streams[0]!.waitForHistory(here.encode(DEMO.histories.alice), { from });
      late.push(performance.now() - said);
      expect(viewers.size).toBeLessThanOrEqual(2 * MOST_VIEWED);
    }
    expect(late.toSorted((a, b) => a - b)[5]!, `${late}`).toBeLessThan(1_000);
    expect((database.statements - before) / (performance.now() - at)).toBeLessThan(0.03);
    // None of these histories is theirs.
    await eventually(() => viewers.size === 0, { within: 10_000, what: 'the next look at who may see them' });
    expect(streams.map(({ brokenAt }) => brokenAt)).toEqual([undefined, undefined]);
  }, 60_000);

  it('tells nobody what is for somebody else, whatever is in between', async () => {
    const random = seeded(4);
    const alice = await here.stream(worker.url, 'key=demo-alice');
    const nobody = await here.stream(worker.url, '');
    const from = alice.frames.length;
    for (let i = 0; i < 500; i += 1) {
      const body = mutated(random);
      // Broadcasts are for everybody.
      if (!body.includes('notify_broadcast')) await publish('control.*', body);
    }
    await publish(
      'control.*',
      encodeTask({ task: 'notify_users', userIds: [DEMO.users.bob], payload: '{"to":"bob"}' }),
    );
    await here.change(DEMO.histories.alice);
    await alice.waitForHistory(here.encode(DEMO.histories.alice), { from });
    const told = alice.frames.slice(from).filter(({ event }) => event !== undefined);
    expect(told.map(({ event }) => event)).toEqual(['history_update']);
    expect(nobody.frames.filter(({ event }) => event !== undefined && event !== 'ready')).toEqual([]);
  });

  it('shapes no frame of its own out of line ends in a payload', async () => {
    const alice = await here.stream(worker.url, 'key=demo-alice');
    const payload = 'x\r\nevent: ready\rid: 9\n\nevent: forged\u0000\ndata: 1';
    await publish('control.*', encodeTask({ task: 'notify_users', userIds: [DEMO.users.alice], payload }));
    await publish(
      'control.*',
      encodeTask({ task: 'notify_users', userIds: [DEMO.users.alice], payload: '{"last":1}' }),
    );
    await eventually(() => alice.frames.some(({ data }) => data?.includes('last')));
    expect(alice.frames.filter(({ event }) => event === 'forged' || event === 'ready')).toHaveLength(1);
  });
});
