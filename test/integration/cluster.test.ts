import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { DEMO, Installation, type Settings } from '../support/installation.js';
import type { ServiceProcess } from '../support/processes.js';
import { broadcastBody, publishRaw } from '../support/publish.js';
import { rawConnection } from '../support/raw-http.js';
import type { SseClient } from '../support/sse-client.js';

let here: Installation;
beforeEach(async () => {
  here = await Installation.production();
});
afterEach(() => here.close());

const { alice, bob, admin } = DEMO.histories;
const leads = (service: ServiceProcess) => service.line('leading: this process is the monitor');

/** Until the monitor has told what was written before it led; then what follows is counted from zero. */
async function quiet(streams: readonly SseClient[]): Promise<void> {
  await here.change(alice);
  await Promise.all(streams.map((stream) => stream.waitForHistory(here.encode(alice))));
  // A window that the start may have opened is over when a second event could have come.
  await new Promise((resolve) => setTimeout(resolve, 500));
}

describe('two workers and a monitor', () => {
  let workers: ServiceProcess[];
  let urls: string[];
  let monitor: ServiceProcess;

  async function start(settings: Settings = {}): Promise<void> {
    monitor = here.process(['monitor'], settings);
    await leads(monitor);
    workers = [here.process(['serve', '--demo'], settings), here.process(['serve'], settings)];
    urls = await Promise.all(workers.map((worker) => worker.address()));
  }

  it('tell each change exactly once to every tab of its owner', async () => {
    await start();
    const streams = await Promise.all([...urls, ...urls].map((url) => here.stream(url)));
    const others = await Promise.all(urls.map((url) => here.stream(url, 'key=demo-bob')));
    await quiet(streams);
    const from = streams.map((stream) => stream.frames.length);
    for (let round = 0; round < 5; round += 1) {
      await here.change(alice);
      await Promise.all(
        streams.map((stream, i) =>
          eventually(() => stream.events('history_update', from[i]).length === round + 1, {
            what: `event ${round + 1}`,
          }),
        ),
      );
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(streams.map((stream, i) => stream.events('history_update', from[i]).length)).toEqual([5, 5, 5, 5]);
    await here.change(bob);
    for (const other of others) {
      await other.waitForHistory(here.encode(bob));
      expect(other.frames.some((frame) => frame.data?.includes(here.encode(alice)))).toBe(false);
    }
  });

  it('are shown to an administrator on any worker, with their streams; one is ended from there, and a process that died is silent', async () => {
    await start();
    interface Process {
      pid: number;
      role: string;
      state: string;
      leadingSeconds: number | null;
      gauges: { streams: number };
    }
    const alices = await here.stream(urls[1]!);
    const page = await here.statusPage(urls[0]!);
    const shown = (fits: (processes: Process[]) => boolean, what: string) =>
      eventually(
        () => {
          const last = page.events('now').at(-1);
          const processes = last ? (JSON.parse(last.data!).processes as Process[]) : [];
          return fits(processes) ? processes : false;
        },
        { within: 15_000, what },
      );
    const pids = [...workers, monitor].map(({ pid }) => pid).sort();
    await shown(
      (all) =>
        all
          .map(({ pid }) => pid)
          .sort()
          .join() === pids.join() &&
        all.every(({ state }) => state === 'heard') &&
        all.find(({ pid }) => pid === workers[1]!.pid)?.gauges.streams === 1 &&
        all.find(({ leadingSeconds }) => leadingSeconds !== null)?.pid === monitor.pid,
      'three processes, the monitor leading',
    );

    const key = 'key=demo-admin';
    const listed = await fetch(`${urls[0]}/api/status/streams?user=alice@example.org&${key}`);
    const { streams } = (await listed.json()) as { streams: { stream: string }[] };
    expect(streams).toHaveLength(1);
    const ended = await fetch(
      `${urls[0]}/api/status/streams?stream=${encodeURIComponent(streams[0]!.stream)}&${key}`,
      {
        method: 'DELETE',
      },
    );
    expect(ended.status).toBe(204);
    expect(await alices.ended()).toBe('end');

    await monitor.kill();
    await shown(
      (all) => all.find(({ pid }) => pid === monitor.pid)?.state === 'silent',
      'the killed monitor as silent',
    );
    expect((await fetch(`${urls[0]}/api/status/live?key=demo-alice`)).status).toBe(403);
  });

  it('go on when the monitor is killed: a worker takes the role', async () => {
    await start();
    const streams = await Promise.all(urls.map((url) => here.stream(url)));
    await quiet(streams);
    await monitor.kill();
    const from = streams.map((stream) => stream.frames.length);
    const at = await here.change(alice);
    for (const [i, stream] of streams.entries()) {
      const frame = await stream.waitForHistory(here.encode(alice), { from: from[i]!, within: 10_000 });
      expect(frame.at - at).toBeLessThan(5_000);
    }
    // And from then on without delay.
    const next = streams.map((stream) => stream.frames.length);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const later = await here.change(alice);
    for (const [i, stream] of streams.entries()) {
      const frame = await stream.waitForHistory(here.encode(alice), { from: next[i]! });
      expect(frame.at - later).toBeLessThan(1_000);
    }
    expect(workers.filter((worker) => worker.stderr.includes('leading: this process'))).toHaveLength(1);
  });

  it('give the role to a monitor that is started later, without losing what changes meanwhile', async () => {
    await start({ sse: { heartbeat_interval: 1 } });
    await monitor.stop();
    const stream = await here.stream(urls[0]!);
    await quiet([stream]);
    const late = here.process(['monitor'], { sse: { heartbeat_interval: 1 } });
    let led = false;
    void leads(late).then(() => {
      led = true;
    });
    // One change after the other across the hand-over; each must be told before the next is made.
    const begin = performance.now();
    while (!led && performance.now() - begin < 15_000) {
      const from = stream.frames.length;
      await here.change(alice);
      await stream.waitForHistory(here.encode(alice), { from });
    }
    expect(led).toBe(true);
    const from = stream.frames.length;
    await here.change(alice);
    await stream.waitForHistory(here.encode(alice), { from });
  });

  it('hand the role over at once when the monitor is stopped', async () => {
    await start();
    const stream = await here.stream(urls[0]!);
    await quiet([stream]);
    const from = stream.frames.length;
    expect(await monitor.stop()).toEqual({ code: 0, signal: null });
    const at = await here.change(alice);
    const frame = await stream.waitForHistory(here.encode(alice), { from });
    expect(frame.at - at).toBeLessThan(2_000);
  });

  it('bring a broadcast to everybody, anonymous visitors too', async () => {
    const settings = { galaxy: { enable_notification_system: true } };
    await start(settings);
    const queries = ['', 'key=demo-alice', 'key=demo-bob'];
    const cookie = await here.cookieOf(DEMO.anonymousSession);
    const streams = await Promise.all([
      ...urls.flatMap((url) => queries.map((query) => here.stream(url, query))),
      here.stream(urls[0]!, '', { headers: cookie }),
    ]);
    await publishRaw(here.vhost!.amqpUrl, [broadcastBody({ from: 'the exchange' })]);
    for (const stream of streams) {
      const frame = await stream.waitFor(({ event }) => event === 'broadcast_update');
      expect(JSON.parse(frame.data!)).toEqual({ from: 'the exchange' });
    }
    const notify = here.process(['notify', '--broadcast', 'Maintenance', 'at noon'], settings);
    expect(await notify.exited).toEqual({ code: 0, signal: null });
    expect(notify.stdout).toBe('sent\n');
    for (const stream of streams) {
      const frame = await stream.waitFor((it) => it.data?.includes('Maintenance') === true);
      expect(JSON.parse(frame.data!)).toMatchObject({
        category: 'broadcast',
        content: { subject: 'Maintenance', message: 'at noon' },
      });
      expect(stream.events('broadcast_update')).toHaveLength(2);
    }
  });
});

describe('lightcone serve --workers 2', () => {
  it('serves one address from two processes, each change once, and stops with 0', async () => {
    const service = here.process(['serve', '--demo', '--workers', '2']);
    const url = await service.address();
    await eventually(() => service.lines.filter((line) => line.msg === 'ready').length === 2, {
      within: 15_000,
      what: 'two workers',
    });
    await leads(service);
    // Connections are spread by the kernel: enough of them that both workers have some.
    const streams = await Promise.all(Array.from({ length: 16 }, () => here.stream(url, 'key=demo-admin')));
    await here.change(admin);
    await Promise.all(streams.map((stream) => stream.waitForHistory(here.encode(admin))));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const from = streams.map((stream) => stream.frames.length);
    await here.change(admin);
    await Promise.all(
      streams.map((stream, i) => stream.waitForHistory(here.encode(admin), { from: from[i]! })),
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(new Set(streams.map((stream, i) => stream.events('history_update', from[i]).length))).toEqual(
      new Set([1]),
    );
    service.signal('SIGTERM');
    expect(await Promise.all(streams.map((stream) => stream.ended()))).toEqual(streams.map(() => 'end'));
    expect(await service.exited).toEqual({ code: 0, signal: null });
  });

  // nodejs/node#60617: a server that closes cuts idle connections, and a request that is on its way there is lost.
  it('a rolling restart answers the request that is under way, and the one that follows on its connection', async () => {
    const service = here.process(['serve', '--demo', '--workers', '2']);
    const url = await service.address();
    const body = JSON.stringify({ name: 'renamed in two halves' });
    const half = Math.floor(body.length / 2);
    const id = here.encode(alice);
    const put =
      `PUT /api/histories/${id} HTTP/1.1\r\nHost: x\r\nx-api-key: demo-alice\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    // More than workers, so that each of them has some.
    const slow = Array.from({ length: 8 }, () => rawConnection(url, put + body.slice(0, half)));
    const idle = Array.from({ length: 8 }, () =>
      rawConnection(url, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'),
    );
    await Promise.all(idle.map((one) => one.until(({ text }) => text.includes('200 OK'))));
    service.signal('SIGHUP');
    await service.line('stopping');
    for (const one of idle) one.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    for (const one of slow) one.write(body.slice(half));
    for (const one of slow)
      expect(await one.until(({ text, closed }) => closed || text.includes('\r\n\r\n'))).toContain('200 OK');
    for (const one of idle)
      expect(
        (await one.until(({ text, closed }) => closed || text.split('200 OK').length === 3)).split('200 OK'),
      ).toHaveLength(3);
    await service.line('rolling restart done', 30_000);
  }, 60_000);

  it('has as many workers as before after a rolling restart in which one dies', async () => {
    const service = here.process(['serve', '--demo', '--workers', '2']);
    const ready = () => service.lines.filter((line) => line.msg === 'ready').length;
    await eventually(() => ready() === 2, { within: 15_000, what: 'two workers' });
    const children = () =>
      readFileSync(`/proc/${service.pid}/task/${service.pid}/children`, 'utf8').trim().split(' ').map(Number);
    const old = children();
    service.signal('SIGHUP');
    await eventually(() => children().length === 3, { within: 5_000, what: 'a successor' });
    process.kill(old.at(-1)!, 'SIGKILL');
    await service.line('rolling restart done', 30_000);
    // The replacement of the dead one may be on its way still.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(children()).toHaveLength(2);
    expect(children().filter((pid) => old.includes(pid))).toEqual([]);
    await here.forgetKilled();
  }, 60_000);

  it('replaces a worker that dies', async () => {
    const service = here.process(['serve', '--demo', '--workers', '2']);
    const url = await service.address();
    const ready = () => service.lines.filter((line) => line.msg === 'ready');
    await eventually(() => ready().length === 2, { within: 15_000, what: 'two workers' });
    const names = await here.sql<{ pid: number }>('SELECT pid FROM worker_process');
    process.kill(names[0]!.pid, 'SIGKILL');
    await service.line('worker exited: starting a replacement');
    await eventually(() => ready().length === 3, { within: 15_000, what: 'the third worker' });
    const stream = await here.stream(url);
    await here.change(alice);
    await stream.waitForHistory(here.encode(alice), { within: 10_000 });
    await here.forgetKilled();
  });
});
