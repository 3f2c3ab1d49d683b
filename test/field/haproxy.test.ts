/** What other people's event streams met behind HAProxy. Each test names its report. */
import { get } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { constants, createGunzip } from 'node:zlib';
import { afterEach, expect, it, vi } from 'vitest';
import { freePort } from '../support/free-port.js';
import { startHaproxy } from '../support/haproxy.js';
import { DEMO, Installation } from '../support/installation.js';
import { restOf } from '../support/rest.js';

const { alice } = DEMO.histories;
let here: Installation;
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end();
  await here.close();
});

async function behindHaproxy(settings: readonly string[], ours: Record<string, unknown>) {
  here = Installation.embedded();
  const worker = await here.worker({ sse: ours });
  const server = `server one ${new URL(worker.url).host}`;
  const haproxy = await startHaproxy(['mode http', ...settings, server]);
  open.push(() => haproxy.close());
  const status = restOf(worker.url);
  return {
    worker,
    port: haproxy.port,
    tabs: async (): Promise<number> =>
      (await status('GET', '/api/status', { as: 'admin' })).body.connections.open,
  };
}

function tab(port: number): { socket: Socket; text: () => string; isClosed: () => boolean } {
  let text = '';
  let closed = false;
  const socket = connect(port, '127.0.0.1', () =>
    socket.write('GET /api/events/stream?key=demo-alice HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  );
  socket.setEncoding('latin1').on('data', (more) => (text += String(more)));
  socket.on('error', () => {}).on('close', () => (closed = true));
  open.push(() => socket.destroy());
  return { socket, text: () => text, isClosed: () => closed };
}
const ready = (text: () => string) =>
  vi.waitFor(() => expect(text()).toContain('event: ready'), { timeout: 5_000 });

// haproxy/haproxy#182: `timeout tunnel` is nothing to a stream; `timeout client` and `timeout server` end one that is silent.
it('a silent stream outlives the timeouts of HAProxy, since a keepalive comes before them', async () => {
  const { port } = await behindHaproxy(
    ['timeout connect 2s', 'timeout client 2s', 'timeout server 2s', 'timeout tunnel 1h'],
    { keepalive_interval: 1 },
  );
  const { text, isClosed } = tab(port);
  await ready(text);
  const keepalives = () => text().split(': keepalive').length - 1;
  await vi.waitFor(() => expect(keepalives()).toBeGreaterThanOrEqual(5), { timeout: 15_000 });
  expect(isClosed()).toBe(false);
  await here.change(alice);
  await vi.waitFor(() => expect(text()).toContain(here.encode(alice)), { timeout: 3_000 });
});

// haproxy-unofficial-obsolete-mirrors/haproxy#26: HAProxy tells the server that the client has left only when it writes again.
it('a tab that left is known to have left at the next keepalive', async () => {
  const timeouts = ['timeout connect 2s', 'timeout client 1h', 'timeout server 1h'];
  const { port, tabs } = await behindHaproxy(timeouts, { keepalive_interval: 1 });
  const { socket, text } = tab(port);
  await ready(text);
  expect(await tabs()).toBe(1);
  socket.destroy();
  await vi.waitFor(async () => expect(await tabs()).toBe(0), { timeout: 8_000, interval: 200 });
});

// haproxy/haproxy#1505: with `option abortonclose` each client that leaves is a TCP reset at the server.
it('a reset in place of a goodbye ends that tab at once, and is no error in the log', async () => {
  const { port, tabs, worker } = await behindHaproxy(
    ['option abortonclose', 'timeout connect 2s', 'timeout client 1h', 'timeout server 1h'],
    { keepalive_interval: 300 },
  );
  const left = tab(port);
  const stays = tab(port);
  await ready(left.text);
  await ready(stays.text);
  left.socket.end();
  left.socket.destroy();
  await vi.waitFor(async () => expect(await tabs()).toBe(1), { timeout: 5_000, interval: 100 });
  await here.change(alice);
  await vi.waitFor(() => expect(stays.text()).toContain(here.encode(alice)), { timeout: 3_000 });
  expect(worker.lines.filter(({ level }) => Number(level) >= 40)).toEqual([]);
});

const TIMEOUTS = ['timeout connect 2s', 'timeout client 1h', 'timeout server 1h'];

// stackoverflow.com/questions/21419859: how HAProxy is set up for events; a mode that closes the server's side must not wait for its end.
it.each(['option http-server-close', 'option httpclose', 'option http-buffer-request'])(
  'events arrive at once with `%s`',
  async (option) => {
    const { port } = await behindHaproxy([option, ...TIMEOUTS], {});
    const { text, isClosed } = tab(port);
    await ready(text);
    await here.change(alice);
    await vi.waitFor(() => expect(text()).toContain(here.encode(alice)), { timeout: 3_000 });
    expect(isClosed()).toBe(false);
  },
);

// ninenines/cowboy#1238, expressjs/compression#61: a hop that compresses keeps events until it has enough of them.
it('events arrive at once where HAProxy compresses everything', async () => {
  const compression = ['compression algo gzip', 'compression type text/event-stream text/html'];
  const { port } = await behindHaproxy([...compression, ...TIMEOUTS], {});
  let text = '';
  let encoding: string | undefined;
  const request = get(
    { port, path: '/api/events/stream?key=demo-alice', headers: { 'accept-encoding': 'gzip' } },
    (response) => {
      encoding = response.headers['content-encoding'];
      const body =
        encoding === 'gzip' ? response.pipe(createGunzip({ finishFlush: constants.Z_SYNC_FLUSH })) : response;
      body.setEncoding('utf8').on('data', (more: string) => (text += more));
      body.on('error', () => {});
    },
  );
  request.on('error', () => {});
  open.push(() => request.destroy());
  await ready(() => text);
  expect(encoding).toBe('gzip');
  await here.change(alice);
  await vi.waitFor(() => expect(text).toContain(here.encode(alice)), { timeout: 3_000 });
});

// haproxy/haproxy#192, #1006: over HTTP/2 a stream ends and its connection goes on; what is behind HAProxy hears of it late, or wrong.
it('tabs of one HTTP/2 connection come and go without each other, and each that left is known to have left', async () => {
  const bind = `bind 127.0.0.1:${await freePort()} proto h2`;
  const { tabs } = await behindHaproxy([bind, ...TIMEOUTS], { keepalive_interval: 1 });
  const session = connectHttp2(`http://${bind.split(' ')[1]}`);
  session.on('error', () => {});
  open.push(() => session.destroy());
  const streams = Array.from({ length: 10 }, () => {
    const got = { text: '' };
    const stream = session.request({ ':path': '/api/events/stream?key=demo-alice' });
    stream.setEncoding('utf8').on('data', (more: string) => {
      got.text += more;
    });
    stream.on('error', () => {});
    return { stream, got };
  });
  for (const { got } of streams) await ready(() => got.text);
  for (const { stream } of streams.slice(1)) stream.close();
  await vi.waitFor(async () => expect(await tabs()).toBe(1), { timeout: 8_000, interval: 200 });
  await here.change(alice);
  await vi.waitFor(() => expect(streams[0]!.got.text).toContain(here.encode(alice)), { timeout: 3_000 });
});
