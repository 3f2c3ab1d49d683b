/** Connections that are held open for nothing: they are few, they end, and nobody with a stream notices. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/core/limits.js';
import { WaitingConnections, type WaitingLimits } from '../../src/http/waiting-connections.js';
import { Installation, type RunningWorker } from '../support/installation.js';
import { rawConnection } from '../support/raw-http.js';
import { readResponses } from '../support/responses.js';

const GET = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n';
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(
    sockets.splice(0).map((socket) => socket.closed || new Promise((done) => socket.once('close', done))),
  );
});

/** @returns once it is answered */
function asked(port: number, from = '127.0.0.1', what = GET): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from }, () => socket.write(what));
    sockets.push(socket);
    socket.once('data', () => resolve(socket)).on('error', reject);
  });
}
const openOnes = (of: Socket[]): number => of.filter(({ readyState }) => readyState === 'open').length;

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return (server.address() as AddressInfo).port;
}

describe('a worker', () => {
  let here: Installation;
  let worker: RunningWorker;
  let port: number;
  beforeAll(async () => {
    here = Installation.embedded();
    worker = await here.worker({ sse: { api_rate_limit: 0 } });
    port = Number(new URL(worker.url).port);
  });
  afterAll(() => here.close());

  it('closes the oldest of thousands of connections that asked once and idle, and nobody else’s', async () => {
    const stream = await here.stream(worker.url);
    const neighbour = await asked(port, '127.0.0.2');
    const idle: Socket[] = [];
    for (let i = 0; i < 15; i += 1)
      idle.push(...(await Promise.all(Array.from({ length: 100 }, () => asked(port)))));
    await expect.poll(() => openOnes(idle)).toBe(LIMITS.idleConnections.value - 1);
    // A browser or proxy that asks on one again is answered.
    const again = new Promise((resolve) => idle.at(-1)!.once('data', resolve));
    idle.at(-1)!.write(GET);
    expect(String(await again)).toContain(' 200 ');
    expect([stream.brokenAt, neighbour.readyState]).toEqual([undefined, 'open']);
  });

  it.each([true, false])(
    'ends a stream whose client goes on sending (node_internals: %s)',
    async (node_internals) => {
      const other = await here.worker({
        sse: { node_internals },
        galaxy: { database_connection: `sqlite:///s${node_internals}.sqlite` },
      });
      const { registry } = other.worker.manager;
      const connection = rawConnection(
        other.url,
        'GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n',
      );
      await connection.until(({ text }) => text.includes('event: ready'));
      expect(registry.all).toHaveLength(1);
      const more = GET.repeat(50);
      for (let said = 0; said <= LIMITS.saidBytes.value && !connection.closed; said += more.length) {
        connection.write(more);
        await sleep(1);
      }
      const text = await connection.until(({ closed }) => closed);
      expect(readResponses(text)).toHaveLength(1);
      await expect.poll(() => registry.all.length).toBe(0);
    },
  );
});

it('a request that is on its way on the oldest connection is not lost when that one has to go', async () => {
  const limits = { idle: 1, unreadSeconds: 60, unreadBytes: Number.POSITIVE_INFINITY };
  const server = new WaitingConnections(limits).limit(createServer((_, response) => response.end('ok')));
  const port = await listening(server);
  const oldest = await asked(port);
  const accepted = new Promise((resolve) => server.once('connection', resolve));
  const next = connect({ port, host: '127.0.0.1' });
  sockets.push(next);
  await Promise.all([accepted, new Promise((resolve) => next.once('connect', resolve))]);
  await sleep(20);
  const answer = new Promise((resolve) => oldest.once('data', resolve).once('close', resolve));
  // Both are there when the server looks.
  next.write(GET);
  oldest.write(GET);
  expect(String(await answer)).toContain(' 200 ');
  server.closeAllConnections();
  server.close();
});

describe('a connection whose stream has ended while it stayed with the HTTP server', () => {
  let here: Installation;
  let worker: RunningWorker;
  beforeAll(async () => {
    here = Installation.embedded();
    worker = await here.worker({ sse: { node_internals: false } });
  });
  afterAll(() => here.close());
  const ended = async (behind: string) => {
    const connection = rawConnection(
      worker.url,
      'GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n',
    );
    await connection.until(({ text }) => text.includes('event: ready'));
    const { manager } = worker.worker;
    const [tab] = manager.registry.all;
    connection.write(behind);
    if (behind !== '')
      await expect.poll(() => (tab!.out as ServerResponse).req.socket.bytesRead).toBeGreaterThan(90);
    expect(manager.closeById(tab!.id)).toBe(true);
    await connection.until(({ text }) => text.endsWith('0\r\n\r\n'));
    return connection;
  };

  it('is answered again', async () => {
    const connection = await ended('');
    connection.write(GET);
    await connection.until(({ text }) => readResponses(text).length === 2);
    connection.destroy();
  });

  it('ends where something was asked behind the stream', async () => {
    const connection = await ended(GET);
    expect(readResponses(await connection.until(({ closed }) => closed))).toHaveLength(1);
  });
});

describe('an answer that nobody reads', () => {
  // More than both kernels hold for the two of them.
  const LARGE = Buffer.alloc(32 * 1024 * 1024);
  let ended: string[] = [];
  const serve = (limits: WaitingLimits): Server => {
    const mine: string[] = [];
    ended = mine;
    return new WaitingConnections(limits).limit(
      createServer((request, response) => {
        response.on('close', () => mine.push(request.url!));
        if (request.url === '/slow') response.write('.');
        else response.end(request.url === '/small' ? 'ok' : LARGE);
      }),
    );
  };
  const servers: Server[] = [];
  afterAll(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });
  const start = async (unreadSeconds: number, unreadBytes: number): Promise<number> => {
    servers.push(serve({ idle: 10, unreadSeconds, unreadBytes }));
    return listening(servers.at(-1)!);
  };
  const stuck = async (port: number, path: string): Promise<Socket> => {
    const socket = await asked(port, '127.0.0.1', `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    return socket.pause();
  };

  it('ends its connection after a while; one that is not whole yet, and one that waits for a request, go on', async () => {
    const port = await start(1, Number.POSITIVE_INFINITY);
    const slow = await stuck(port, '/slow');
    const small = await stuck(port, '/small');
    await stuck(port, '/large');
    await expect.poll(() => ended, { timeout: 5_000 }).toEqual(['/small', '/large']);
    expect([slow.readyState, small.readyState]).toEqual(['open', 'open']);
  });

  it('is one of few: where they hold too much together, the oldest end', async () => {
    const port = await start(600, LARGE.length * 2 + 4_096);
    for (const path of ['/1', '/2', '/3', '/4']) await stuck(port, path);
    await expect.poll(() => ended.length, { timeout: 5_000 }).toBeGreaterThan(1);
    await sleep(1_500);
    expect(ended.toSorted()).toEqual(['/1', '/2']);
  });

  it('ends a connection with requests behind it, which never hear of it', async () => {
    const port = await start(1, Number.POSITIVE_INFINITY);
    const socket = await asked(
      port,
      '127.0.0.1',
      'GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /small HTTP/1.1\r\nHost: x\r\n\r\n',
    );
    socket.pause();
    const open = () => new Promise((resolve) => servers.at(-1)!.getConnections((_, count) => resolve(count)));
    expect(await open()).toBe(1);
    await expect.poll(open, { timeout: 5_000 }).toBe(0);
  });
});
