import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { freePort } from '../support/free-port.js';
import { Installation } from '../support/installation.js';
import { broadcastBody, publishRaw } from '../support/publish.js';
import { SseClient } from '../support/sse-client.js';

let here: Installation;
afterEach(() => here.close());

const rows = async (): Promise<number> =>
  Number((await here.sql<{ n: number }>('SELECT count(*) AS n FROM worker_process'))[0]!.n);

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  it('ends streams properly and the process with 0, and leaves no row behind', async () => {
    here = Installation.embedded();
    const service = here.process(['serve', '--demo']);
    const url = await service.address();
    const streams = await Promise.all([
      here.stream(url),
      here.stream(url, 'key=demo-bob'),
      here.stream(url, ''),
    ]);
    await eventually(async () => (await rows()) === 1, { what: 'the heartbeat row' });
    const at = performance.now();
    service.signal(signal);
    expect(await Promise.all(streams.map((stream) => stream.ended()))).toEqual(['end', 'end', 'end']);
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - at).toBeLessThan(2_000);
    expect(await rows()).toBe(0);
  });
});

describe('with a client that reads nothing', () => {
  /** More than the buffers of both sockets hold. */
  const MEGABYTES = 24;

  async function stuckOn(url: string): Promise<SseClient> {
    const stuck = await here.stream(url, '');
    stuck.pause();
    const reader = await here.stream(url, '');
    const payload = { text: 'x'.repeat(1_000_000) };
    for (let i = 0; i < MEGABYTES; i += 1)
      await publishRaw(here.vhost!.amqpUrl, [broadcastBody({ ...payload, i })]);
    await reader.waitFor((frame) => frame.data?.includes(`"i":${MEGABYTES - 1}`) === true, {
      within: 10_000,
    });
    reader.close();
    return stuck;
  }

  it('it drains, sends new streams away gently, and ends at once on a second signal', async () => {
    here = await Installation.production();
    const service = here.process(['serve', '--demo']);
    const url = await service.address();
    await stuckOn(url);
    service.signal('SIGTERM');
    await service.line('stopping');
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain('this worker is draining');
    const late = await SseClient.open(`${url}/api/events/stream?key=demo-bob`);
    expect(await late.ended()).toBe('end');
    expect(late.status).toBe(200);
    expect(late.frames).toMatchObject([{ comments: ['this worker is shutting down'], retry: 3000 }]);
    service.signal('SIGTERM');
    expect(await service.exited).toEqual({ code: 1, signal: null });
  });

  it.each([
    // nodejs/node#63452, fastify/fastify#5713: browsers open connections that they never use, and a close waits for them.
    ['is connected and asks nothing', '', 60],
    ['asked once and begins to ask again', 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTT', 10],
  ])('a connection that %s does not hold up the stop', async (_what, text, drain_timeout) => {
    here = await Installation.production();
    const service = here.process(['serve', '--demo'], { sse: { drain_timeout } });
    const { port } = new URL(await service.address());
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(text);
    if (text) await once(socket, 'data');
    const at = performance.now();
    service.signal('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - at).toBeLessThan(5_000);
  });

  it('it ends with 0 within drain_timeout', async () => {
    here = await Installation.production();
    const service = here.process(['serve', '--demo'], { sse: { drain_timeout: 3 } });
    await stuckOn(await service.address());
    const at = performance.now();
    service.signal('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - at).toBeLessThan(3_000);
  });
});

describe('while it waits for a neighbour', () => {
  it.each([
    ['serve', 'database_connection', 'postgresql://nobody@127.0.0.1:PORT/none'],
    ['serve', 'amqp_internal_connection', 'amqp://127.0.0.1:PORT//'],
    ['monitor', 'amqp_internal_connection', 'amqp://127.0.0.1:PORT//'],
  ])('a signal ends lightcone %s (%s) with 0', async (command, key, url) => {
    here = Installation.embedded();
    const service = here.process([command], {
      galaxy: { [key]: url.replace('PORT', String(await freePort())) },
    });
    await service.seen(() => service.lines.find((line) => Number(line.level) >= 40), 'a warning');
    service.signal('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
  });
});

describe('a worker on a unix socket', () => {
  it('that was killed does not keep its successor from listening there; a living one does', async () => {
    here = Installation.embedded();
    const settings = { sse: { listen: `unix:${here.folder}/sock` } };
    const first = here.process(['serve', '--demo'], settings);
    await first.address();
    const second = here.process(['serve'], settings);
    expect((await second.exited).code).toBe(75);
    expect(second.stderr).toContain(`cannot listen on ${here.folder}/sock: another process does`);
    await connects(`${here.folder}/sock`);
    await first.kill();
    const third = here.process(['serve'], settings);
    await third.address();
    await connects(`${here.folder}/sock`);
  });

  const connects = (path: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect(path, () => {
        socket.destroy();
        resolve();
      });
      socket.on('error', reject);
    });
});
