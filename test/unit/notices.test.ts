import { describe, expect, it } from 'vitest';
import { Announcer } from '../../src/app/cluster/announcer.js';
import { Cluster } from '../../src/app/cluster/cluster.js';
import { decodeNotice, encodeNotice, MAX_NOTICE_BYTES } from '../../src/bus/wire/codec.js';
import { GAUGES, type Gauges, type Notice, type ProcessNotice, processKey } from '../../src/core/notices.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { BOUNDS_MS, Histogram, quantile } from '../../src/telemetry/histogram.js';

const SECRET = 'of this installation';
const clock = {
  ms: 1_000_000,
  now: () => clock.ms * 1000,
  monotonic: () => clock.ms,
};
const metrics = new CountingMetrics();
const NO_GAUGES = Object.fromEntries(GAUGES.map((name) => [name, null])) as Gauges;

/** What a process says once a second, made as it makes it. */
async function noticeOf(
  name: string,
  state: { leads?: boolean; streams?: number } = {},
): Promise<ProcessNotice> {
  let made: ProcessNotice | undefined;
  const announcer = new Announcer({
    process: { name, host: 'h', pid: 1, role: 'worker', version: '1', database: 'postgresql', bus: 'amqp' },
    bus: { publishNotice: async () => {} },
    metrics,
    clock,
    state: () => ({
      ready: true,
      problems: [],
      leader: null,
      leads: state.leads ?? false,
      gauges: { ...NO_GAUGES, streams: state.streams ?? 0, watermark_age_ms: 500 },
    }),
    onNotice: (notice) => {
      made = notice;
    },
  });
  await announcer.start();
  await announcer.stop();
  return { ...made!, leaving: false };
}

describe('a notice on the bus', () => {
  it('comes out as it went in', async () => {
    const notices: Notice[] = [
      await noticeOf('main.1', { leads: true }),
      {
        notice: 'ask_streams',
        question: 'q',
        streams: {
          limit: 50,
          userId: 3,
          address: '10.',
          state: 'blocked',
          after: { openedAt: 9, process: 'p', id: 2 },
        },
      },
      {
        notice: 'streams',
        question: 'q',
        process: 'p',
        total: 1,
        streams: [{ id: 1, openedAt: 9, userId: null, address: '::1', state: 'live', waiting: 0 }],
      },
      { notice: 'close_stream', process: 'p', id: 7 },
    ];
    for (const notice of notices) {
      expect(decodeNotice(encodeNotice(notice, SECRET, 5_000), SECRET, 6_000)).toEqual({ ok: true, notice });
    }
  });

  it('of a process is small', async () => {
    expect(encodeNotice(await noticeOf('main.1'), SECRET, Date.now()).length).toBeLessThan(2_048);
  });

  it('is not believed without the signature of the installation', async () => {
    const forged = encodeNotice({ notice: 'close_stream', process: 'p', id: 7 }, 'another secret', 5_000);
    expect(decodeNotice(forged, SECRET, 5_000)).toMatchObject({ ok: false, reason: 'forged_notice' });
  });

  it.each([
    ['no JSON', 'x'],
    ['no object', '[]'],
    ['no text', '{"notice":{}}'],
    ['too long', ' '.repeat(MAX_NOTICE_BYTES + 1)],
  ])('that is %s is refused', (_, text) => {
    expect(decodeNotice(Buffer.from(text), SECRET, 5_000)).toMatchObject({
      ok: false,
      reason: 'malformed_notice',
    });
  });

  it('is checked field by field, signed or not', async () => {
    const right = await noticeOf('main.1');
    const wrong: object[] = [
      { notice: 'other' },
      { name: '' },
      { name: 'a\nb' },
      { pid: -1 },
      { role: 'king' },
      { sequence: 1.5 },
      { problems: 'none' },
      { problems: new Array(21).fill('x') },
      { gauges: { ...right.gauges, streams: 'many' } },
      { gauges: null },
      { counters: {} },
      { deliveries: new Array(100).fill(0) },
      { refusals: [{ at: 1 }] },
      { leadingSeconds: -1 },
    ];
    for (const change of wrong) {
      const body = encodeNotice({ ...right, ...change } as Notice, SECRET, 5_000);
      expect(decodeNotice(body, SECRET, 5_000), JSON.stringify(change)).toMatchObject({
        reason: 'malformed_notice',
      });
    }
  });
});

describe('the cluster as a worker hears it', () => {
  const at = (seconds: number): void => {
    clock.ms = 1_000_000 + seconds * 1000;
  };
  const states = (cluster: Cluster) =>
    Object.fromEntries(cluster.now().processes.map(({ name, state }) => [name, state]));

  it('says who is not heard any more, and forgets who has stopped', async () => {
    at(0);
    const cluster = new Cluster(clock, () => 'self');
    const [one, two] = [await noticeOf('one'), await noticeOf('two')];
    cluster.accept(one);
    cluster.accept(two);
    expect(states(cluster)).toEqual({ one: 'heard', two: 'heard' });
    at(6);
    cluster.accept({ ...one, sequence: 2 });
    expect(states(cluster)).toEqual({ one: 'heard', two: 'silent' });
    cluster.accept({ ...one, sequence: 3, leaving: true });
    expect(states(cluster)).toEqual({ one: 'stopped', two: 'silent' });
    at(70);
    cluster.everySecond();
    expect(states(cluster)).toEqual({ two: 'silent' });
    at(1_000);
    cluster.everySecond();
    expect(states(cluster)).toEqual({});
  });

  it('is not fooled by an old notice that comes again', async () => {
    at(0);
    const cluster = new Cluster(clock, () => 'self');
    const old = await noticeOf('one');
    cluster.accept({ ...old, sequence: 5 });
    at(6);
    cluster.accept({ ...old, sequence: 5 });
    expect(states(cluster)).toEqual({ one: 'silent' });
  });

  it('gives the line of a process that died to its successor', async () => {
    at(0);
    const cluster = new Cluster(clock, () => 'self');
    const before = await noticeOf('one');
    cluster.accept(before);
    at(10);
    const after = await noticeOf('one');
    cluster.accept(after);
    expect(cluster.now().processes.map(({ key }) => key)).toEqual([processKey(after)]);
  });

  it('holds 128 processes and 15 minutes at most', async () => {
    at(0);
    const cluster = new Cluster(clock, () => 'self');
    const any = await noticeOf('any');
    for (let index = 0; index < 300; index += 1) cluster.accept({ ...any, name: `n${index}` });
    expect(cluster.now().processes.length).toBe(128);
    for (let second = 0; second < 2_000; second += 1) cluster.everySecond();
    expect(cluster.history().buckets.length).toBe(180);
  });

  it('adds up all processes: what was counted since the bucket before, and how long deliveries took', async () => {
    at(0);
    const cluster = new Cluster(clock, () => 'self');
    const [one, two] = [await noticeOf('one', { streams: 3 }), await noticeOf('two', { streams: 4 })];
    cluster.accept(one);
    cluster.accept(two);
    const deliveries = [...one.deliveries];
    deliveries[BOUNDS_MS.indexOf(10)] = 99;
    deliveries[BOUNDS_MS.indexOf(1_000)] = 1;
    cluster.accept({ ...one, sequence: 2, deliveries, counters: { ...one.counters, events_written: 50 } });
    let bucket: ReturnType<Cluster['everySecond']>;
    for (let second = 0; second < 5; second += 1) bucket = cluster.everySecond();
    expect(bucket).toMatchObject({ streams: 7, waiting: 0, watermarks: { one: 500, two: 500 } });
    expect(bucket?.rates.events_written).toBe(10);
    expect(bucket?.p50).toBeGreaterThan(7);
    expect(bucket?.p50).toBeLessThanOrEqual(10);
    expect(bucket?.p99).toBeLessThanOrEqual(10);
  });
});

describe('a histogram', () => {
  it('gives a quantile within the bounds of its bucket, and none of nothing', () => {
    const histogram = new Histogram();
    expect(quantile(histogram.counts, 0.5)).toBeNull();
    for (let ms = 1; ms <= 100; ms += 1) histogram.add(ms);
    expect(quantile(histogram.counts, 0.5)).toBeGreaterThanOrEqual(49);
    expect(quantile(histogram.counts, 0.5)).toBeLessThanOrEqual(51);
    histogram.add(1e9);
    expect(quantile(histogram.counts, 1)).toBe(60_000);
  });
});
