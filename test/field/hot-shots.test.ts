/** What other people's programs met with hot-shots. Each test names its report. */
import dns from 'node:dns';
import { afterEach, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { StatsdMetrics } from '../../src/telemetry/statsd.js';
import { recordingLogger } from '../support/bus.js';
import { eventually } from '../support/eventually.js';
import { StatsdReceiver } from '../support/statsd.js';

const release: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const end of release.splice(0).reverse()) await end();
});

async function metricsTo(host: string) {
  const receiver = await StatsdReceiver.start();
  release.push(() => receiver.close());
  const { logger, lines } = recordingLogger();
  const config = { host, port: receiver.port, prefix: 'galaxy', form: 'dogstatsd' as const };
  const metrics = new StatsdMetrics(config, logger, systemClock);
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
