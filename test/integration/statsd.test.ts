import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { InProcessBus } from '../../src/bus/in-process/bus.js';
import type { StatsdConfig } from '../../src/config/config.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import type { MetricName, Tags } from '../../src/telemetry/metrics.js';
import { StatsdMetrics } from '../../src/telemetry/statsd.js';
import { Recorder, recordingLogger } from '../support/bus.js';
import { StatsdReceiver } from '../support/statsd.js';

const logger = createLogger('silent');
let receiver: StatsdReceiver;
const open: StatsdMetrics[] = [];

beforeEach(async () => {
  receiver = await StatsdReceiver.start();
});
afterEach(async () => {
  for (const metrics of open.splice(0)) await metrics.close();
  await receiver.close();
});

function connect(form: StatsdConfig['form'], prefix = 'galaxy', random = Math.random): StatsdMetrics {
  const metrics = new StatsdMetrics(
    { host: '127.0.0.1', port: receiver.port, prefix, form },
    logger,
    systemClock,
    random,
  );
  open.push(metrics);
  return metrics;
}

const TASK = { task: 'history_update' };

type Sent = ['increment' | 'timing' | 'gauge', MetricName, number, Tags?];
const COUNT: Sent = ['increment', 'galaxy.sse.dispatch.count', 1, TASK];
const LATENCY: Sent = ['timing', 'galaxy.sse.dispatch.latency_ms', 3.4, TASK];
const SKIPPED: Sent = ['increment', 'galaxy.sse.dispatch.skipped_no_qw', 1];
const DROPPED: Sent = ['increment', 'galaxy.sse.connections.dropped', 1, { reason: 'overflow' }];
const ACTIVE: Sent = [
  'gauge',
  'galaxy.sse.connections.active',
  3,
  { kind: 'broadcast', server_name: 'main.1' },
];

describe.each<[StatsdConfig['form'], [Sent, string][]]>([
  [
    'galaxy-plain',
    [
      [COUNT, 'galaxy.galaxy.sse.dispatch.count:1|c'],
      [LATENCY, 'galaxy.galaxy.sse.dispatch.latency_ms:3.000000|ms'],
      [SKIPPED, 'galaxy.galaxy.sse.dispatch.skipped_no_qw:1|c'],
      [DROPPED, 'galaxy.galaxy.sse.connections.dropped:1|c'],
      [ACTIVE, 'galaxy.galaxy.sse.connections.active:3|g'],
    ],
  ],
  [
    'galaxy-influxdb',
    [
      [COUNT, 'galaxy.,task=history_update,path=galaxy.sse.dispatch.count:1|c'],
      [LATENCY, 'galaxy.,task=history_update,path=galaxy.sse.dispatch.latency_ms:3.000000|ms'],
      [SKIPPED, 'galaxy.,path=galaxy.sse.dispatch.skipped_no_qw:1|c'],
      [DROPPED, 'galaxy.,path=galaxy.sse.connections.dropped:1|c'],
      [ACTIVE, 'galaxy.,kind=broadcast,server_name=main.1,path=galaxy.sse.connections.active:3|g'],
    ],
  ],
  [
    'dogstatsd',
    [
      [COUNT, 'galaxy.sse.dispatch.count:1|c|#task:history_update'],
      [LATENCY, 'galaxy.sse.dispatch.latency_ms:3.4|ms|#task:history_update'],
      [SKIPPED, 'galaxy.sse.dispatch.skipped_no_qw:1|c'],
      [DROPPED, 'galaxy.sse.connections.dropped:1|c|#reason:overflow'],
      [ACTIVE, 'galaxy.sse.connections.active:3|g|#kind:broadcast,server_name:main.1'],
    ],
  ],
  [
    'telegraf',
    [
      [COUNT, 'galaxy.sse.dispatch.count,task=history_update:1|c'],
      [LATENCY, 'galaxy.sse.dispatch.latency_ms,task=history_update:3.4|ms'],
      [SKIPPED, 'galaxy.sse.dispatch.skipped_no_qw:1|c'],
      [DROPPED, 'galaxy.sse.connections.dropped,reason=overflow:1|c'],
      [ACTIVE, 'galaxy.sse.connections.active,kind=broadcast,server_name=main.1:3|g'],
    ],
  ],
])('in the form %s', (form, expected) => {
  it.each(expected)('%j is the datagram %s', async ([method, name, value, tags], datagram) => {
    const metrics = connect(form);
    metrics[method](name, value, tags);
    metrics.flush();
    await receiver.waitFor((received) => received.includes(name.slice('galaxy.'.length)));
    expect(receiver.datagrams).toEqual([datagram]);
  });
});

describe('the prefix', () => {
  it.each<[StatsdConfig['form'], string, string]>([
    ['dogstatsd', 'lightcone', 'lightcone.sse.dispatch.skipped_no_qw:1|c'],
    ['dogstatsd', '', 'sse.dispatch.skipped_no_qw:1|c'],
    ['galaxy-plain', 'site', 'site.galaxy.sse.dispatch.skipped_no_qw:1|c'],
    ['galaxy-influxdb', 'galaxy,host=a,', 'galaxy,host=a.,path=galaxy.sse.dispatch.skipped_no_qw:1|c'],
  ])('in the form %s, %j gives %s', async (form, prefix, datagram) => {
    const metrics = connect(form, prefix);
    metrics.increment('galaxy.sse.dispatch.skipped_no_qw', 1);
    metrics.flush();
    await receiver.waitFor(() => true);
    expect(receiver.datagrams).toEqual([datagram]);
  });
});

describe('what is counted often', () => {
  it('is added up and sent once a second', async () => {
    const metrics = connect('galaxy-plain');
    for (let i = 0; i < 10_000; i += 1) metrics.increment('galaxy.sse.events.written', 1);
    await receiver.waitFor((received) => received === 'galaxy.galaxy.sse.events.written:10000|c');
    expect(receiver.datagrams).toHaveLength(1);
  });

  it('and timed often is sampled: at most 100 timings of one series per second', async () => {
    const metrics = connect('galaxy-plain', 'galaxy', () => 0);
    for (let i = 0; i < 1_000; i += 1) metrics.timing('galaxy.sse.delivery.latency_ms', i);
    await metrics.close();
    await receiver.waitFor(() => receiver.datagrams.length >= 100);
    expect(receiver.datagrams).toHaveLength(100);
    expect(receiver.datagrams[0]).toBe('galaxy.galaxy.sse.delivery.latency_ms:999.000000|ms');
  });
});

it('a publish on a bus sends the metrics of the contract', async () => {
  const metrics = connect('galaxy-plain');
  const bus = new InProcessBus({ logger, metrics, clock: systemClock });
  bus.subscribe(new Recorder());
  await expect(bus.publish({ task: 'notify_broadcast', payload: '{}' })).rejects.toThrow();
  await bus.start();
  await bus.publish({ task: 'notify_broadcast', payload: '{}' });
  await bus.stop();
  await receiver.waitFor((received) => received === 'galaxy.galaxy.sse.dispatch.count:1|c');
  await receiver.waitFor((received) => received === 'galaxy.galaxy.sse.dispatch.skipped_no_qw:1|c');
  await receiver.waitFor((received) =>
    /^galaxy\.galaxy\.sse\.dispatch\.latency_ms:\d+\.000000\|ms$/.test(received),
  );
});

describe('a statsd that is not there', () => {
  it('by name: costs one log line, not one per metric, and never throws', async () => {
    const { logger, lines } = recordingLogger();
    const config = { host: 'no-such-host.invalid', port: 8125, prefix: 'galaxy', form: 'dogstatsd' } as const;
    const metrics = new StatsdMetrics(config, logger, systemClock);
    for (let i = 0; i < 20; i += 1) metrics.gauge('galaxy.sse.connections.active', i);
    await vi.waitFor(() => expect(lines).toHaveLength(1), { timeout: 10_000 });
    metrics.increment('galaxy.sse.events.written', 1);
    await metrics.close();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ host: 'no-such-host.invalid', msg: 'metrics cannot be sent to statsd' });
  });

  it('by port: nobody notices', async () => {
    const metrics = connect('dogstatsd');
    await receiver.close();
    receiver = await StatsdReceiver.start();
    metrics.increment('galaxy.sse.events.written', 1);
    metrics.flush();
    await metrics.close();
  });
});

it('closing twice and counting after the close does no harm', async () => {
  const metrics = connect('dogstatsd');
  await Promise.all([metrics.close(), metrics.close()]);
  metrics.increment('galaxy.sse.events.written', 1);
  metrics.gauge('galaxy.sse.connections.active', 1);
});
