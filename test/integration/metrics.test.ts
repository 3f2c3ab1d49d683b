import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { freePort } from '../support/free-port.js';
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
      const answer = await fetch(`${url}/api/events/history-subscriptions?key=demo-alice`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ history_ids: [here.encode(alice)] }),
      });
      expect(answer.status).toBe(503);
      await arrives(/^galaxy\.sse\.dispatch\.skipped_no_qw:\d+\|c/);
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

describe('metrics_listen and monitor_metrics_listen', () => {
  interface Health {
    ready: boolean;
    well: boolean;
    problems: string[];
  }
  const health = async (address: string, path: string) => {
    const answer = await fetch(`http://${address}${path}`);
    return { status: answer.status, ...((await answer.json()) as Health) };
  };
  const well = (address: string) =>
    eventually(async () => (await health(address, '/wellz').catch(() => undefined))?.well === true, {
      within: 20_000,
      what: `all is well at ${address}`,
    });
  const scrape = async (address: string) => (await fetch(`http://${address}/metrics`)).text();

  it('tell the metrics of every worker and of the monitor, each series with its process, and who is not well', {
    timeout: 60_000,
  }, async () => {
    const [workers, monitors] = await Promise.all([freePort(), freePort()]).then((ports) =>
      ports.map((port) => `127.0.0.1:${port}`),
    );
    const settings = { sse: { workers: 2, metrics_listen: workers, monitor_metrics_listen: monitors } };
    const serve = here.process(['serve', '--demo'], settings);
    const monitor = here.process(['monitor'], settings);
    await Promise.all([well(workers!), well(monitors!)]);
    await monitor.line('leading: this process is the monitor');
    const stream = await here.stream(await serve.address());
    await here.change(DEMO.histories.alice);
    await stream.waitForHistory(here.encode(DEMO.histories.alice));

    const served = await scrape(workers!);
    for (const name of ['main.1', 'main.2']) {
      expect(served).toMatch(
        new RegExp(
          `^galaxy_sse_tasks_received_total\\{process="${name}",task="history_update"\\} [1-9]`,
          'm',
        ),
      );
    }
    // One head for a metric, however many processes tell it.
    expect(served.match(/^# TYPE galaxy_sse_tasks_received_total /gm)).toHaveLength(1);
    expect(await scrape(monitors!)).toMatch(
      /^galaxy_sse_dispatch_count_total\{process="sse_monitor\.[^"]+",task="history_update"\} [1-9]/m,
    );

    const [row] = await here.sql<{ pid: number }>(
      "SELECT pid FROM worker_process WHERE server_name = 'main.1'",
    );
    process.kill(row!.pid, 'SIGSTOP');
    try {
      expect(await health(workers!, '/wellz')).toMatchObject({
        status: 503,
        problems: expect.arrayContaining(['worker 1: it does not answer']),
      });
      expect(await health(workers!, '/readyz')).toMatchObject({ status: 200, ready: true, well: false });
    } finally {
      process.kill(row!.pid, 'SIGCONT');
    }
    await well(workers!);
  });

  it('are told on a loopback address to nobody whom a foreign name or a proxy led there', async () => {
    const address = `127.0.0.1:${await freePort()}`;
    await here.worker({ sse: { metrics_listen: address } });
    expect((await fetch(`http://${address}/healthz`)).status).toBe(200);
    for (const headers of [{ 'x-forwarded-for': '203.0.113.9' }, { 'x-forwarded-for': '127.0.0.1' }]) {
      expect((await fetch(`http://${address}/metrics`, { headers })).status).toBe(403);
    }
  });

  it('an address that is taken is told with the flag, and ends with 75', async () => {
    const { url } = await here.worker();
    const taken = new URL(url).host;
    for (const [command, flag] of [
      ['serve', 'metrics_listen'],
      ['monitor', 'monitor_metrics_listen'],
    ] as const) {
      const process = here.process([command], { sse: { [flag]: taken } });
      expect((await process.exited).code).toBe(75);
      expect(process.stderr).toContain(
        `cannot listen on ${taken}: another process does; stop it, or choose another address with --${flag.replaceAll('_', '-')}`,
      );
    }
  });
});
