/** What other people's event streams met behind HAProxy. Each test names its report. */
import { connect, type Socket } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
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
