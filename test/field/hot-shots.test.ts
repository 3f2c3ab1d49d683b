/** What other people's programs met with hot-shots. Each test names its report. */
import dns from 'node:dns';
import { afterEach, expect, it, vi } from 'vitest';
import { type Clock, systemClock } from '../../src/lib/clock.js';
import { StatsdMetrics } from '../../src/telemetry/statsd.js';
import { recordingLogger } from '../support/bus.js';
import { eventually } from '../support/eventually.js';
import { StatsdReceiver } from '../support/statsd.js';

const release: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const end of release.splice(0).reverse()) await end();
});

async function metricsTo(host: string, clock: Clock = systemClock) {
  const receiver = await StatsdReceiver.start();
  release.push(() => receiver.close());
  const { logger, lines } = recordingLogger();
  const config = { host, port: receiver.port, prefix: 'galaxy', form: 'dogstatsd' as const };
  const metrics = new StatsdMetrics(config, logger, clock);
  release.push(() => metrics.close());
  return { metrics, receiver, lines };
}

// bdeitte/hot-shots#31: a name that is not resolved now and then ends the server with an uncaught exception.
it('a statsd host that does not resolve is one line in the log, and nothing else', async () => {
  const { metrics, lines } = await metricsTo('statsd.invalid');
  for (let i = 0; i < 100; i += 1) metrics.gauge('galaxy.sse.connections.active', i);
  metrics.increment('galaxy.sse.dispatch.skipped_no_qw', 1);
  metrics.flush();
  await eventually(() => lines.length > 0, { within: 10_000, what: 'the line in the log' });
  expect(lines).toEqual([expect.objectContaining({ level: 40, msg: 'metrics cannot be sent to statsd' })]);
});

// bdeitte/hot-shots#198: the host is an address, and still every packet asks the resolver, in libuv's few threads.
it('two hundred metrics do not cost two hundred look-ups', async () => {
  const lookup = vi.spyOn(dns, 'lookup');
  const { metrics, receiver } = await metricsTo('localhost');
  for (let i = 0; i < 200; i += 1) metrics.gauge('galaxy.sse.connections.active', i);
  await metrics.close();
  const ofStatsd = lookup.mock.calls.filter(([host]) => host === 'localhost');
  expect(ofStatsd).toHaveLength(1);
  await receiver.waitFor((datagram) => datagram.includes(':199|g'));
});

// bdeitte/hot-shots#328: `close` waits for a look-up or a connection that never comes to an end.
it('the end of the process does not wait for a resolver that is silent', async () => {
  vi.spyOn(dns, 'lookup').mockImplementation((() => {}) as unknown as typeof dns.lookup);
  const { metrics } = await metricsTo('statsd.example');
  for (let i = 0; i < 10_000; i += 1) metrics.gauge('galaxy.sse.connections.active', i);
  await eventually(() => vi.mocked(dns.lookup).mock.calls.length > 0, { what: 'the look-up' });
  const at = performance.now();
  await metrics.close();
  expect(performance.now() - at).toBeLessThan(5_000);
  expect(dns.lookup).toHaveBeenCalledTimes(1);
});

// bdeitte/hot-shots#197: after a week nothing arrives any more, without an error: the agent has another address by then.
it('a host that is found at another address later is followed there', async () => {
  let later = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
  const { metrics, receiver } = await metricsTo('statsd.example', clock);
  let address = '127.0.0.2';
  vi.spyOn(dns, 'lookup').mockImplementation(((
    _name: string,
    options: { all?: boolean },
    done: (...answer: unknown[]) => void,
  ) => {
    const answer = { address, family: 4 };
    process.nextTick(() => (options.all ? done(null, [answer]) : done(null, address, 4)));
  }) as unknown as typeof dns.lookup);
  metrics.gauge('galaxy.sse.connections.active', 1);
  await eventually(() => vi.mocked(dns.lookup).mock.calls.length > 0, { what: 'the first look-up' });
  address = '127.0.0.1';
  later = 61_000;
  await eventually(
    async () => {
      metrics.gauge('galaxy.sse.connections.active', 2);
      return receiver.datagrams.some((datagram) => datagram.includes(':2|g'));
    },
    { within: 20_000, what: 'a metric at the new address' },
  );
});

// bdeitte/hot-shots#284: metrics that are gathered in a buffer are cut in two where it is full.
it('each datagram is whole metrics, however many there are and however long', async () => {
  const { metrics, receiver } = await metricsTo('127.0.0.1');
  // As many as the kernel keeps for the receiver.
  const sent = 100;
  for (let i = 0; i < sent; i += 1) {
    metrics.increment('galaxy.sse.dispatch.count', 1, {
      task: `a_task_with_a_long_name_${'x'.repeat(i % 90)}_${i}`,
    });
  }
  await metrics.close();
  const whole = /^galaxy\.sse\.dispatch\.count:1\|c\|#[\w.:,]+$/;
  const lines = () =>
    receiver.datagrams.flatMap((datagram) => datagram.split('\n')).filter((line) => line !== '');
  await eventually(() => lines().length >= sent, { within: 10_000, what: 'all of them' });
  expect(lines().filter((line) => line.includes('dispatch.count') && !whole.test(line))).toEqual([]);
});

// bdeitte/hot-shots#47: a metric after the socket is closed is an error for each, ERR_SOCKET_DGRAM_NOT_RUNNING.
it('what is counted after the end is nothing, and no line in the log', async () => {
  const { metrics, lines } = await metricsTo('127.0.0.1');
  metrics.gauge('galaxy.sse.connections.active', 1);
  await metrics.close();
  for (let i = 0; i < 20; i += 1) metrics.gauge('galaxy.sse.connections.active', i);
  metrics.increment('galaxy.sse.dispatch.skipped_no_qw', 1);
  metrics.timing('galaxy.sse.dispatch.latency_ms', 1, { task: 'x' });
  metrics.flush();
  await metrics.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(lines).toEqual([]);
});
