import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { DEMO, Installation } from '../support/installation.js';
import { broadcastBody, publishRaw } from '../support/publish.js';
import { StatsdReceiver } from '../support/statsd.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let here: Installation;
let statsd: StatsdReceiver;
let galaxy: Record<string, unknown>;

beforeEach(async () => {
  [here, statsd] = await Promise.all([Installation.production(), StatsdReceiver.start()]);
  galaxy = { statsd_host: '127.0.0.1', statsd_port: statsd.port };
});
afterEach(async () => {
  await here.close();
  await statsd.close();
});

const arrives = (form: RegExp) =>
  statsd.waitFor((datagram) => datagram.split('\n').some((line) => form.test(line)));

describe('a statsd server receives', () => {
  it('dispatch.count and dispatch.latency_ms for a change that a running worker publishes', async () => {
    const { url } = await here.worker({ galaxy });
    const stream = await here.stream(url);
    await here.change(DEMO.histories.alice);
    await stream.waitForHistory(here.encode(DEMO.histories.alice));
    await arrives(/^galaxy\.sse\.dispatch\.count:\d+\|c\|#.*task:history_update/);
    await arrives(/^galaxy\.sse\.dispatch\.latency_ms:[\d.]+\|ms\|#.*task:history_update/);
  });

  it('the same from a monitor of its own', async () => {
    const monitor = here.process(['monitor'], { galaxy });
    await monitor.line('leading: this process is the monitor');
    const { url } = await here.worker();
    const stream = await here.stream(url);
    await here.change(DEMO.histories.alice);
    await stream.waitForHistory(here.encode(DEMO.histories.alice));
    await arrives(/^galaxy\.sse\.dispatch\.count:\d+\|c\|#.*task:history_update/);
    await arrives(/^galaxy\.sse\.dispatch\.latency_ms:[\d.]+\|ms\|#.*task:history_update/);
  });

  it('connections.dropped for a tab that does not read', async () => {
    const { url } = await here.worker({ galaxy, sse: { queue_size: 2 } });
    const stuck = await here.stream(url, '');
    stuck.pause();
    const payload = { text: 'x'.repeat(1_000_000) };
    await eventually(
      async () => {
        await publishRaw(here.vhost!.amqpUrl, [broadcastBody(payload), broadcastBody(payload)]);
        return statsd.datagrams.some((it) => it.includes('connections.dropped'));
      },
      { within: 20_000, what: 'a dropped event' },
    );
    await arrives(/^galaxy\.sse\.connections\.dropped:\d+\|c\|#.*reason:queue_full/);
  });

  it('dispatch.skipped_no_qw for what cannot be published while the broker is away', async () => {
    const proxy = await TcpProxy.to(here.vhost!.amqpUrl);
    try {
      const { url } = await here.worker({
        galaxy: { ...galaxy, amqp_internal_connection: proxy.through(here.vhost!.amqpUrl) },
      });
      const stream = await here.stream(url);
      const { alice } = DEMO.histories;
      await here.change(alice);
      await stream.waitForHistory(here.encode(alice));
      await proxy.refuse();
      proxy.cut();
      await here.change(alice);
      await arrives(/^galaxy\.sse\.dispatch\.skipped_no_qw:\d+\|c/);
      const answer = await fetch(`${url}/api/events/history-subscriptions?key=demo-alice`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ history_ids: [here.encode(alice)] }),
      });
      expect(answer.status).toBe(503);
      // What was skipped is told when the broker is back.
      const from = stream.frames.length;
      await proxy.resume();
      await stream.waitForHistory(here.encode(alice), { from, within: 10_000 });
    } finally {
      await here.stopWorkers();
      await proxy.close();
    }
  });

  it('the gauge of open streams where it is asked for', async () => {
    const { url } = await here.worker({
      galaxy: { ...galaxy, queue_metrics_interval: 1, enable_sse_connection_metrics: true },
    });
    await Promise.all([here.stream(url), here.stream(url, '')]);
    await arrives(/^galaxy\.sse\.connections\.active:2\|g\|#.*kind:broadcast/);
    await arrives(/^galaxy\.sse\.connections\.active:1\|g\|#.*kind:per_user/);
  });
});
