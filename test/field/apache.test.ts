/** What other people's event streams met behind Apache (mod_proxy). Each test names its report. */
import { connect as connectHttp2 } from 'node:http2';
import { afterEach, expect, it, vi } from 'vitest';
import { startApache } from '../support/apache.js';
import { arriving } from '../support/arriving.js';
import { DEMO, Installation } from '../support/installation.js';
import { restOf } from '../support/rest.js';

const { alice } = DEMO.histories;
const STREAM = '/api/events/stream?key=demo-alice';
let here: Installation;
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end();
  await here.close();
});

interface Given {
  settings?: readonly string[];
  modules?: readonly string[];
  ours?: Record<string, unknown>;
}

async function behindApache({ settings = [], modules = [], ours = {} }: Given = {}) {
  here = Installation.embedded();
  const worker = await here.worker({ sse: ours });
  const apache = await startApache(worker.url, settings, modules);
  open.push(() => apache.close());
  const status = restOf(worker.url);
  return {
    worker,
    url: apache.url,
    tabs: async (): Promise<number> =>
      (await status('GET', '/api/status', { as: 'admin' })).body.connections.open,
  };
}

const ready = (got: { text: string }) =>
  vi.waitFor(() => expect(got.text).toContain('event: ready'), { timeout: 5_000 });
/** Two of them, so that the second is not what pushed the first out. */
async function changesArrive(got: { text: string }): Promise<void> {
  for (let i = 1; i <= 2; i += 1) {
    await here.change(alice);
    await vi.waitFor(() => expect(got.text.split(here.encode(alice)).length - 1).toBeGreaterThanOrEqual(i), {
      timeout: 3_000,
    });
    got.text = '';
  }
}

// nextcloud/all-in-one#4343: mod_proxy keeps events back without `flushpackets=on`.
it('events arrive at once where Apache is set up for nothing', async () => {
  const { url } = await behindApache();
  const got = arriving(url + STREAM);
  await ready(got);
  await changesArrive(got);
});

// jshttp/compressible#16, jetty/jetty.project#4317: a compressed event stream is silent until enough has come together.
it('events arrive at once where mod_deflate compresses everything', async () => {
  const { url } = await behindApache({
    modules: ['filter', 'deflate'],
    settings: ['SetOutputFilter DEFLATE'],
  });
  const got = arriving(url + STREAM, { 'accept-encoding': 'gzip' });
  await ready(got);
  expect(got.encoding).toBe('gzip');
  await changesArrive(got);
});

// icing/mod_h2#147: with HTTP/2 towards browsers events come in big blocks, with long pauses between them.
it('events arrive at once over HTTP/2, and a tab that leaves its connection open is known to have left', async () => {
  const { url, tabs } = await behindApache({
    modules: ['http2'],
    settings: ['Protocols h2c http/1.1'],
    ours: { keepalive_interval: 1 },
  });
  const session = connectHttp2(url);
  open.push(() => session.destroy());
  session.on('error', () => {});
  const streams = [1, 2, 3].map(() => {
    const got = { text: '' };
    const stream = session.request({ ':path': STREAM });
    stream.setEncoding('utf8').on('data', (text: string) => {
      got.text += text;
    });
    stream.on('error', () => {});
    return { stream, got };
  });
  for (const { got } of streams) await ready(got);
  await changesArrive(streams[0]!.got);
  expect(await tabs()).toBe(3);
  streams[1]!.stream.close();
  await vi.waitFor(async () => expect(await tabs()).toBe(2), { timeout: 8_000, interval: 200 });
  await changesArrive(streams[2]!.got);
});

// openhab/openhab-cloud#623: the time limit of the hop is one of silence, and ends the stream after the first quiet moment.
it('a silent stream outlives ProxyTimeout, since a keepalive comes before it', async () => {
  const { url } = await behindApache({
    settings: ['ProxyTimeout 2', 'Timeout 2'],
    ours: { keepalive_interval: 1 },
  });
  const got = arriving(url + STREAM);
  await ready(got);
  await vi.waitFor(() => expect(got.text.split(': keepalive').length - 1).toBeGreaterThanOrEqual(5), {
    timeout: 15_000,
  });
  expect(got.end).toBeUndefined();
  await changesArrive(got);
});

// http-party/node-http-proxy#1520: a browser closes its stream, and the one between proxy and server stays open.
it('a tab that left is known to have left at the next keepalive', async () => {
  const { url, tabs } = await behindApache({ ours: { keepalive_interval: 1 } });
  const got = arriving(url + STREAM);
  await ready(got);
  expect(await tabs()).toBe(1);
  got.leave();
  await vi.waitFor(async () => expect(await tabs()).toBe(0), { timeout: 8_000, interval: 200 });
});

// http-party/node-http-proxy#921: net::ERR_INCOMPLETE_CHUNKED_ENCODING, and nothing more after it.
it('a stream that the server ends is a whole answer, not a broken one', async () => {
  const { worker, url } = await behindApache();
  const got = arriving(url + STREAM);
  await ready(got);
  await worker.stop();
  await vi.waitFor(() => expect(got.end).toBe('whole'), { timeout: 5_000 });
});
