import { describe, expect, test } from 'vitest';
import type { WorkerStatus } from '../../src/http/routes/status-source.js';
// @ts-expect-error plain JavaScript for the browser, without types
import { findings, hops } from '../../src/web/explain.js';

const healthy: WorkerStatus = {
  server: {
    name: 'main',
    hostname: 'host',
    pid: 1,
    version: '0.1.0',
    mode: 'standalone',
    started: '2026-07-01T12:00:00',
    uptime_seconds: 60,
    draining: false,
  },
  problems: [],
  database: { kind: 'postgresql', display: 'postgresql://db', problem: null, statements: 10 },
  bus: { kind: 'amqp', display: 'amqp://mq', problem: null },
  monitor: {
    leads: true,
    leader: 'main',
    source: 'listen',
    cursor: '2026-07-01T12:00:59',
    cursor_age_ms: 900,
  },
  watermark: { until: '2026-07-01T12:00:59', age_ms: 800 },
  connections: { open: 3, users: 2, sessions: 1, viewed_histories: 0, limit: 20_000 },
  flow: {
    changes_seen: 5,
    tasks_published: 4,
    tasks_skipped: 0,
    tasks_received: 4,
    tasks_invalid: 0,
    events_queued: 12,
    events_merged: 2,
    events_written: 9,
    events_dropped: { queue_full: 1 },
    gaps_repaired: 0,
    resumes: 0,
  },
};
const complaints = (change: object): string[] =>
  findings({ ...healthy, ...change })
    .filter(({ level }: { level: string }) => level === 'bad')
    .map(({ text }: { text: string }) => text);

describe('the status page', () => {
  test('shows the hops of an update in their order', () => {
    expect(hops(healthy).map(({ count }: { count: number }) => count)).toEqual([5, 4, 4, 12, 9]);
  });

  test('has nothing to complain of when all is well', () => {
    expect(complaints({})).toEqual([]);
  });

  test.each([
    ['the database', { database: { ...healthy.database, problem: 'no answer' } }, /No change can be seen/],
    ['a monitor', { monitor: { ...healthy.monitor, leads: false, leader: null } }, /stops before it is seen/],
    [
      'the monitor’s progress',
      { monitor: { ...healthy.monitor, cursor_age_ms: 9_000 } },
      /cursor is 9.0 s behind/,
    ],
    ['the bus', { bus: { ...healthy.bus, problem: 'refused' } }, /wait in the database/],
    ['ticks', { watermark: { until: 'x', age_ms: 8_000 } }, /do not reach this worker/],
    ['room', { connections: { ...healthy.connections, open: 20_000 } }, /max_connections/],
  ])('says where an update stops for want of %s', (_, change, sentence) => {
    expect(complaints(change)).toEqual([expect.stringMatching(sentence)]);
  });
});
