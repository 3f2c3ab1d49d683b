/** What neighbours send: control messages, ticks and settings files. None of it may stop, silence or mislead. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeTask, decodeTick, encodeTask, encodeTick } from '../../src/bus/wire/codec.js';
import { loadConfig } from '../../src/config/load.js';
import { LightconeError } from '../../src/core/errors.js';
import type { ControlTask } from '../../src/core/events.js';
import { parseIso } from '../../src/lib/time.js';
import { DEMO, ID_SECRET, Installation, type RunningWorker } from '../support/installation.js';
import type { SseClient } from '../support/sse-client.js';
import { fuzz, inputs, mutate, mutateJson, Random, report, TIMEOUT_MS } from './fuzz.js';

const MAP = (...entries: [number, number[]][]) => new Map(entries);
const TASKS: ControlTask[] = [
  { task: 'history_update', userUpdates: MAP([1, [1, 5]], [2, [2]]), sessionUpdates: MAP([1, [4]]) },
  { task: 'history_update', userUpdates: MAP([3, [3, 7, 9]]), sessionUpdates: MAP(), updateTime: 1.7e15 },
  { task: 'notify_users', userIds: [1, 2], payload: '{"id":"a","content":{"message":"m"}}', eventId: 'e1' },
  { task: 'notify_broadcast', payload: '{"id":"b"}' },
  { task: 'entry_point_update', userId: 1 },
  { task: 'entry_point_update', sessionId: 1 },
  { task: 'reconfigure_watcher' },
];
/** A history of Alice that Bob watches. */
const VIEWED = 1;
const viewers = (): ControlTask[] => [
  { task: 'subscribe_history_viewer', historyId: here.encode(VIEWED), userId: DEMO.users.bob },
  { task: 'unsubscribe_history_viewer', historyId: here.encode(VIEWED), userId: DEMO.users.bob },
  { task: 'unsubscribe_history_viewer', historyId: here.encode(VIEWED), sessionId: DEMO.anonymousSession },
];
const text = (task: ControlTask): string => encodeTask(task).toString('latin1');

let here: Installation;
let worker: RunningWorker;
beforeAll(async () => {
  here = Installation.embedded();
  worker = await here.worker();
});
afterAll(() => here.close());

/** One open stream, and what has been said to it in the messages so far. */
interface Listener {
  stream: SseClient;
  userId: number | undefined;
  sessionId: number | undefined;
  histories: Set<string>;
  /** Histories of others. */
  viewed: Set<string>;
  payloads: Set<string>;
  entryPoints: boolean;
}
const EVENTS = ['ready', 'history_update', 'notification_update', 'broadcast_update', 'entry_point_update'];

async function listen(): Promise<Listener[]> {
  const open = async (query: string, who: { userId?: number; sessionId?: number }, headers = {}) => ({
    stream: await here.stream(worker.url, query, { headers }),
    userId: undefined,
    sessionId: undefined,
    ...who,
    histories: new Set<string>(),
    viewed: new Set<string>(),
    payloads: new Set<string>(),
    entryPoints: false,
  });
  return [
    await open('key=demo-alice', { userId: DEMO.users.alice }),
    await open('key=demo-bob', { userId: DEMO.users.bob }),
    await open('', { sessionId: DEMO.anonymousSession }, await here.cookieOf(DEMO.anonymousSession)),
    await open('', {}),
  ];
}

function expectOf(listeners: Listener[], task: ControlTask): void {
  for (const it of listeners) {
    const { userId = -1, sessionId = -1 } = it;
    if (task.task === 'subscribe_history_viewer') {
      if (task.userId === userId || task.sessionId === sessionId) it.viewed.add(task.historyId);
    } else if (task.task === 'history_update') {
      const ids = [...(task.userUpdates.get(userId) ?? []), ...(task.sessionUpdates.get(sessionId) ?? [])];
      for (const id of ids) it.histories.add(here.encode(id));
    } else if (task.task === 'notify_users' && task.userIds.includes(userId)) it.payloads.add(task.payload);
    else if (task.task === 'notify_broadcast') it.payloads.add(task.payload);
    else if (task.task === 'entry_point_update') {
      if (task.userId === userId || task.sessionId === sessionId) it.entryPoints = true;
    }
  }
}

/** A payload as it comes out: a line break begins another data line, and half a character is none in UTF-8. */
const lines = (payload: string): string => Buffer.from(payload.split(/\r\n|\r|\n/).join('\n')).toString();

async function judge(listeners: Listener[], marker: string): Promise<void> {
  const task: ControlTask = { task: 'notify_broadcast', payload: marker };
  worker.worker.manager.onTask(task);
  for (const it of listeners) {
    await it.stream.waitFor(({ data }) => data === marker);
    const payloads = new Set([...it.payloads].map(lines));
    for (const { event, data, id } of it.stream.frames.splice(0)) {
      if (id !== undefined) expect(parseIso(id), 'an id that is no moment').toBeDefined();
      if (event === undefined || data === marker) continue;
      expect(EVENTS, 'an event that nobody sends').toContain(event);
      if (event === 'history_update')
        for (const history of (JSON.parse(data!) as { history_ids: string[] }).history_ids)
          expect(
            [...it.histories, ...it.viewed],
            `a history for user ${it.userId}, session ${it.sessionId}`,
          ).toContain(history);
      if (event === 'entry_point_update') expect(it.entryPoints).toBe(true);
      if (event.endsWith('date') && event[0] !== 'h' && event[0] !== 'e')
        expect(payloads.has(data ?? ''), `a payload for user ${it.userId}: ${data}`).toBe(true);
    }
    it.histories.clear();
    it.payloads.clear();
    it.entryPoints = false;
  }
}

describe('anything on the bus', () => {
  it('reaches whom it names and nobody else, or is refused', { timeout: TIMEOUT_MS }, async () => {
    const listeners = await listen();
    const corpus = TASKS.map(text);
    let taken = 0;
    let number = 0;
    const tally = await fuzz(inputs(4_000), async (random, seen) => {
      const body = random.chance(0.5)
        ? JSON.stringify(mutateJson(random, JSON.parse(random.pick(corpus))))
        : mutate(random, corpus);
      seen(body);
      const decoded = decodeTask(Buffer.from(body, 'latin1'));
      if (decoded.ok) {
        taken += 1;
        const task = decoded.task as ControlTask;
        if (!task.task.includes('viewer')) {
          expectOf(listeners, task);
          worker.worker.manager.onTask(task);
        }
      } else expect(decoded.detail.length).toBeLessThan(300);
      number += 1;
      if (number % 50 === 0) await judge(listeners, `{"marker":${number}}`);
    });
    await judge(listeners, '{"marker":"the last"}');
    expect(taken).toBeGreaterThan(tally.inputs / 20);
    report('control messages', tally, `${taken} taken`);
    here.closeStreams();
  });

  it('brings a history to nobody but its owner and who subscribed to it', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const listeners = await listen();
    const { manager } = worker.worker;
    const corpus = [...TASKS, ...viewers()].map(text);
    const take = (task: ControlTask): void => {
      expectOf(listeners, task);
      manager.onTask(task);
    };
    await fuzz(inputs(2_000), (random, seen) => {
      const body = mutate(random, corpus);
      seen(body);
      const decoded = decodeTask(Buffer.from(body, 'latin1'));
      if (decoded.ok) take(decoded.task as ControlTask);
    });
    take(viewers()[0]!);
    take(TASKS[0]!);
    await listeners[1]!.stream.waitFor(({ data }) => data?.includes(here.encode(VIEWED)) === true);
    await judge(listeners, '{"marker":"with viewers"}');
    here.closeStreams();
  });
});

describe('a tick', () => {
  it('never takes a cursor past the database clock', { timeout: TIMEOUT_MS }, async () => {
    const { manager } = worker.worker;
    const now = () => manager.estimateNow()!;
    const valid = () =>
      encodeTick({ leader: 'main.1@1', sequence: 7, until: now() - 1_000_000 }, ID_SECRET).toString('latin1');
    const extremes = [1, 1e6, 1e15, 8.64e15, 2 ** 53 - 1];
    let taken = 0;
    const tally = await fuzz(inputs(10_000), (random, seen) => {
      const until = random.chance(0.5) ? random.pick(extremes) : now() + (random.below(4e9) - 2e9);
      const tick = {
        leader: random.pick(['a', 'main.1@1', 'é'.repeat(50)]),
        sequence: random.below(9),
        until,
      };
      const body = random.chance(0.3)
        ? encodeTick(tick, ID_SECRET).toString('latin1')
        : mutate(random, [valid()]);
      seen(body);
      const decoded = decodeTick(Buffer.from(body, 'latin1'), ID_SECRET);
      if (decoded.ok) {
        taken += 1;
        manager.onTick(decoded.tick);
      }
      if (manager.watermark! > now() + 10_000_000)
        throw new Error(`the watermark is at ${manager.watermark}`);
    });
    expect(taken).toBeGreaterThan(tally.inputs / 10);
    report('ticks', tally, `${taken} taken`);
  });
});

describe('a Last-Event-ID', () => {
  it('is a moment that has been, or none', { timeout: TIMEOUT_MS }, async () => {
    const { manager } = worker.worker;
    const corpus = [
      '2026-07-01T12:34:56.789012',
      '2026-07-01T12:34:56',
      '2026-07-01',
      '2026-07-01 12:34+02:00',
      '9999-12-31T23:59:59.999999Z',
    ];
    let taken = 0;
    const tally = await fuzz(inputs(10_000), (random, seen) => {
      const given = mutate(random, corpus);
      seen(given);
      const cursor = manager.acceptCursor(parseIso(given));
      if (cursor === undefined) return;
      taken += 1;
      const sound =
        Number.isSafeInteger(cursor) && cursor >= 0 && cursor <= manager.estimateNow()! + 11_000_000;
      if (!sound) throw new Error(`it became ${cursor}`);
    });
    expect(taken).toBe(tally.inputs);
    report('Last-Event-ID', tally, `${taken} taken`);
  });
});

describe('a settings file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lightcone-fuzz-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const YAML = [
    'galaxy:\n  id_secret: "a secret of ours"\n  enable_sse_updates: yes\n  database_connection: sqlite:///x.sqlite\nsse:\n  listen: 127.0.0.1:8080\n  workers: 1\n  socket_mode: "0660"\n',
    'galaxy:\n  database_connection: postgresql://u:p@h:5432/db?application_name=x\n  amqp_internal_connection: amqp://u:p@h:5672//\n  admin_users: [a@b.c, "d"]\n  statsd_host: h\n  statsd_port: 8125\nsse: {workers: 4, allowed_origins: ["https://x.org"], debounce: 0.2, api_rate_limit: 10}\n',
    'a: &a [x, x]\nb: &b [*a, *a]\ngalaxy: {id_secret: "12345", cookie_path: /, galaxy_url_prefix: /galaxy/}\nsse: {<<: {queue_size: 4}, listen: "unix:/run/x"}\n',
    '# comment\ngalaxy: !!map\n  ? id_secret\n  : |\n    block\n  log_level: >-\n    debug\n',
  ];

  it('is read, or refused with a list of its mistakes', { timeout: TIMEOUT_MS }, async () => {
    const file = join(folder, 'galaxy.yml');
    let read = 0;
    const tally = await fuzz(inputs(800), (random, seen) => {
      const content = mutate(random, YAML);
      seen(content);
      writeFileSync(file, content, 'latin1');
      const env = random.chance(0.1) ? { LIGHTCONE_WORKERS: mutate(random, ['2', '0x2', '1e1']) } : {};
      try {
        loadConfig({ env, flags: { config: file, sse: {} }, cwd: folder });
        read += 1;
      } catch (error) {
        if (!(error instanceof LightconeError) || error.code !== 'CONFIG_INVALID') throw error;
      }
    });
    report('settings files', tally, `${read} read`);
  });
});

// So that two runs of one seed are the same.

it('the inputs are those of the seed', () => {
  const some = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 20 }, () => mutate(random, ['abc', 'def']));
  };
  expect(some(1)).toEqual(some(1));
  expect(some(2)).not.toEqual(some(1));
});
