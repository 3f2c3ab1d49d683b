import { describe, expect, test } from 'vitest';
import { COUNTERS, type Counters } from '../../src/core/notices.js';
import type { ClusterNow, ClusterProcess } from '../../src/http/routes/cluster-source.js';
// @ts-expect-error plain JavaScript for the browser, without types
import { findings, hops } from '../../src/web/explain.js';

const counters = (some: Partial<Counters> = {}): Counters => ({
  ...(Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Counters),
  ...some,
});

function worker(name: string, change: Partial<ClusterProcess> = {}): ClusterProcess {
  return {
    key: `${name}@host/1.5`,
    name,
    host: 'host',
    pid: 1,
    startedAt: 5,
    role: 'worker',
    version: '0.1.0',
    state: 'heard',
    heard_ms: 300,
    leaving: false,
    ready: true,
    problems: [],
    database: 'postgresql',
    bus: 'amqp',
    leadingSeconds: null,
    leader: 'monitor',
    gauges: {
      streams: 3,
      users: 2,
      sessions: 0,
      limit: 20_000,
      waiting: 0,
      blocked: 0,
      watermark_age_ms: 800,
      cursor_age_ms: null,
    },
    counters: counters({ tasks_received: 4, events_queued: 12, events_merged: 2, events_written: 9 }),
    ...change,
  };
}
const gauges = (change: Partial<ClusterProcess['gauges']>) => ({ ...worker('any').gauges, ...change });
const NO_GAUGES = Object.fromEntries(Object.keys(gauges({})).map((name) => [name, null])) as never;
const monitor = (change: Partial<ClusterProcess> = {}): ClusterProcess =>
  worker('monitor', {
    role: 'monitor',
    leadingSeconds: 60,
    gauges: { ...(NO_GAUGES as ClusterProcess['gauges']), cursor_age_ms: 900 },
    counters: counters({ changes_seen: 5, tasks_published: 4 }),
    ...change,
  });
const cluster = (...processes: ClusterProcess[]): ClusterNow => ({ self: 'x', processes, refusals: [] });
const said = (level: string, now: ClusterNow): string[] =>
  findings(now)
    .filter((finding: { level: string }) => finding.level === level)
    .map(({ text }: { text: string }) => text);

describe('the status page', () => {
  test('adds up the hops of an update over all processes, in their order', () => {
    const now = cluster(monitor(), worker('one'), worker('two'));
    expect(hops(now).map(({ count }: { count: number }) => count)).toEqual([5, 4, 8, 24, 18]);
  });

  test('has nothing to complain of when all is well, and says since when who leads', () => {
    const now = cluster(monitor(), worker('one'), worker('two'));
    expect(said('bad', now)).toEqual([]);
    expect(said('good', now).join('\n')).toMatch(
      /monitor has been the monitor for 60 s\.\n.*until 0\.8 s ago has arrived at all 2 workers\.\n6 streams of 4 users/,
    );
  });

  test.each([
    [
      'a process that is not heard',
      cluster(monitor(), worker('one'), worker('two', { state: 'silent', heard_ms: 9_000 })),
      /two on host has not been heard for 9 s/,
    ],
    [
      'a database that is away',
      cluster(monitor({ problems: ['database x cannot be used'] }), worker('one')),
      /monitor: database x/,
    ],
    [
      'nobody who leads',
      cluster(
        monitor({ leadingSeconds: null }),
        worker('one', { gauges: gauges({ watermark_age_ms: 6_000 }) }),
      ),
      /No process is the monitor/,
    ],
    [
      'a leader that reads nothing',
      cluster(monitor({ gauges: gauges({ cursor_age_ms: 9_000 }) }), worker('one')),
      /has read no changes for 9.0 s/,
    ],
    [
      'a worker that hears no leader',
      cluster(monitor(), worker('one'), worker('two', { gauges: gauges({ watermark_age_ms: 8_000 }) })),
      /two: no tick of the monitor has arrived for 8.0 s/,
    ],
    [
      'no room',
      cluster(monitor(), worker('one', { gauges: gauges({ streams: 20_000 }) })),
      /max_connections/,
    ],
    ['no worker at all', cluster(monitor()), /No worker reports/],
  ])('says where an update stops for want of %s, and calls nothing good meanwhile', (_, now, sentence) => {
    expect(said('bad', now).join('\n')).toMatch(sentence);
    expect(said('good', now)).toEqual([]);
  });

  test('tells the same problem of several processes once', () => {
    const problems = ['broker y does not answer'];
    const now = cluster(monitor({ problems }), worker('one', { problems }), worker('two', { problems }));
    expect(said('bad', now)).toEqual(['monitor, one, two: broker y does not answer.']);
  });

  test('says that a Galaxy leads, whose monitor tells nothing of itself', () => {
    const now = cluster(worker('one', { leader: 'galaxy.main' }));
    expect(said('good', now)[0]).toMatch(/^galaxy\.main is the monitor/);
  });

  test('notes that one worker alone is a risk', () => {
    expect(said('note', cluster(monitor(), worker('one'))).join()).toMatch(/only one worker/);
  });
});
