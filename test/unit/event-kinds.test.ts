/** A sixth kind of event, defined here and nowhere else, on its way from `publish` to a tab. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InProcessBus } from '../../src/bus/in-process/bus.js';
import { decodeTask, encodeTask } from '../../src/bus/wire/codec.js';
import type { SseConfig } from '../../src/config/config.js';
import { ConnectionManager } from '../../src/connections/manager.js';
import type { ControlTask, Principal, Task, UserId } from '../../src/core/events.js';
import type { ChangeLog } from '../../src/database/port.js';
import { id } from '../../src/events/fields.js';
import { type EventId, Frame, frameText, type MergeRule } from '../../src/events/frame.js';
import type { EventKind } from '../../src/events/kind.js';
import { EventRegistry, KINDS } from '../../src/events/registry.js';
import { systemClock } from '../../src/lib/clock.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { SseParser } from '../support/sse-parser.js';

interface JobUpdateTask extends Task {
  task: 'job_update';
  userId: UserId;
  jobs: number;
}
/** A number that no other kind has. */
const SUBJECT = -1;

/** "So many of your jobs changed": the newest count replaces the one that waits. */
const MERGE: MergeRule<number, { jobs: number }> = {
  begin: (jobs) => ({ jobs }),
  add(waiting, jobs) {
    waiting.jobs = jobs;
    return true;
  },
  frame: ({ jobs }, position) => jobFrame(jobs, position),
};
const jobFrame = (jobs: number, eventId: EventId): Frame =>
  new Frame('job_update', frameText('job_update', `{"jobs":${jobs}}`, eventId), eventId, MERGE, jobs);

/** What its table says. */
let table: { userId: UserId; jobs: number }[];

const jobUpdate: EventKind<JobUpdateTask> = {
  event: 'job_update',
  audience: 'the user',
  data: '`{"jobs":n}`',
  task: {
    name: 'job_update',
    read: ({ user_id, jobs }) => ({
      task: 'job_update',
      userId: id('user_id', user_id),
      jobs: id('jobs', jobs),
    }),
    write: ({ userId, jobs }) =>
      new Map([
        ['user_id', userId],
        ['jobs', jobs],
      ]),
  },
  deliver({ userId, jobs }, streams) {
    streams.rememberUser(userId, SUBJECT, streams.recordingTime(), 0);
    if (streams.hasUser(userId)) streams.toUser(userId, [jobFrame(jobs, streams.eventId)]);
    return undefined;
  },
  catchUp: {
    fromMemory: ({ subjects }) => (subjects.has(SUBJECT) ? [(position) => jobFrame(0, position)] : []),
    fromDatabase: async ({ principal }) =>
      table
        .filter(({ userId }) => userId === principal.userId)
        .map(
          ({ jobs }) =>
            (position) =>
              jobFrame(jobs, position),
        ),
  },
  remembers: SUBJECT,
  repair: async () => table.map((row) => ({ task: 'job_update', ...row })),
  preload: 'never',
};

const registry = new EventRegistry([...KINDS, jobUpdate]);
const NOW = Date.UTC(2026, 6, 1) * 1000;
const anna: Principal = { userId: 1, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } };
const nothing: Pick<ChangeLog, 'identify' | 'now' | 'changesSince' | 'entryPointOwnersSince'> = {
  identify: async () => 'log',
  now: async () => NOW,
  changesSince: async () => [],
  entryPointOwnersSince: async () => ({ userIds: [], sessionIds: [] }),
};

let manager: ConnectionManager;
let metrics: CountingMetrics;
let bus: InProcessBus;

beforeEach(async () => {
  table = [];
  metrics = new CountingMetrics();
  manager = new ConnectionManager({
    kinds: registry,
    config: {
      queueSize: 4,
      keepaliveSeconds: 30,
      recentWindowSeconds: 900,
      rowClockSeconds: 10,
      writeTimeoutSeconds: 60,
      permissionCheckSeconds: 30,
      maxConnections: 10,
      maxConnectionsPerUser: 10,
    } as SseConfig,
    changeLog: nothing as ChangeLog,
    positions: { entries: async () => [] },
    notifications: undefined,
    returning: { changeLog: nothing as ChangeLog, notifications: undefined },
    permissions: { revoked: async () => [], accessible: async () => new Set<number>() } as never,
    subscribed: () => true,
    encodeId: String,
    decodeId: Number,
    clock: systemClock,
    random: Math.random,
    logger: createLogger('silent'),
    metrics,
  });
  bus = new InProcessBus({ logger: createLogger('silent'), metrics, clock: systemClock });
  bus.subscribe(manager);
  await bus.start();
  await manager.start();
});
afterEach(async () => {
  await bus.stop();
  await manager.stop();
});

/** Through the form on AMQP and the bus of the process, to a worker. */
async function publish(jobs: number): Promise<void> {
  const task: JobUpdateTask = { task: 'job_update', userId: 1, jobs };
  const decoded = decodeTask(encodeTask(task, undefined, registry), registry);
  if (!decoded.ok) throw new Error(decoded.detail);
  // What an author adds to `ControlTask`.
  await bus.publish(decoded.task as ControlTask);
}

function openTab(out: PassThrough, since?: number) {
  const tab = manager.open({ out, chunked: false, head: '', principal: anna, since, viewed: [] });
  out.on('drain', () => manager.onWritable(tab));
  return tab;
}

const jobsIn = (text: string): string[] => {
  const parser = new SseParser();
  return parser
    .push(Buffer.from(text), 0)
    .filter((frame) => frame.event === 'job_update')
    .map((frame) => frame.data ?? '');
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a kind of event that only this file knows', () => {
  it('comes from the bus to the tabs of its user', async () => {
    const out = new PassThrough();
    openTab(out);
    await publish(3);
    await turn();
    expect(jobsIn(String(out.read()))).toEqual(['{"jobs":3}']);
  });

  it('is known by what a worker remembers of it', () => {
    const events = [7, 0, SUBJECT, -2].map((subject) => registry.eventOf(subject));
    expect(events).toEqual(['history_update', 'entry_point_update', 'job_update', undefined]);
  });

  it('is unknown to a registry without it', () => {
    const body = encodeTask({ task: 'job_update', userId: 1, jobs: 1 }, undefined, registry);
    expect(decodeTask(body)).toMatchObject({ ok: false, reason: 'unknown_task' });
  });

  it('merges in the queue of a tab that does not read', async () => {
    const out = new PassThrough({ highWaterMark: 1 });
    openTab(out);
    await publish(1);
    await turn();
    for (const jobs of [2, 3, 4, 5, 6, 7]) await publish(jobs);
    await turn();
    let text = '';
    for (let chunk = out.read(); chunk !== null; chunk = out.read()) {
      text += chunk;
      await turn();
    }
    expect(jobsIn(text)).toEqual(['{"jobs":1}', '{"jobs":7}']);
  });

  it('is told again after the queue of a tab overflowed', async () => {
    const out = new PassThrough({ highWaterMark: 1 });
    openTab(out);
    for (let n = 0; n < 8; n += 1) {
      manager.onTask({ task: 'notify_broadcast', payload: String(n) } as Task);
      await turn();
    }
    await publish(6);
    let text = '';
    await expect
      .poll(() => {
        text += out.read()?.toString() ?? '';
        return jobsIn(text);
      })
      .toEqual(['{"jobs":0}']);
    await manager.stop();
    expect(metrics.total('galaxy.sse.events.dropped', { reason: 'queue_full' })).toBeGreaterThan(0);
  });

  it('is told to a tab that comes back: from memory', async () => {
    await publish(3);
    const out = new PassThrough();
    openTab(out, NOW + 1_000_000);
    await expect.poll(() => jobsIn(out.read()?.toString() ?? '')).toEqual(['{"jobs":0}']);
  });

  it('is told to a tab that comes back: from the database, where the memory does not reach', async () => {
    table = [
      { userId: 1, jobs: 9 },
      { userId: 2, jobs: 8 },
    ];
    const out = new PassThrough();
    openTab(out, NOW - 86_400_000_000);
    await expect.poll(() => jobsIn(out.read()?.toString() ?? '')).toEqual(['{"jobs":9}']);
  });

  it('is told after a gap', async () => {
    const out = new PassThrough();
    openTab(out);
    await turn();
    table = [{ userId: 1, jobs: 5 }];
    manager.onGap('reconnected');
    await expect.poll(() => jobsIn(out.read()?.toString() ?? '')).toEqual(['{"jobs":5}']);
  });
});
