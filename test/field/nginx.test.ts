/** What other people's event streams met behind nginx. Each test names its report. */

import { afterEach, expect, it, vi } from 'vitest';
import { arriving } from '../support/arriving.js';
import { DEMO, Installation } from '../support/installation.js';
import { startPlainNginx } from '../support/plain-nginx.js';

const { anonymous } = DEMO.histories;
const STREAM = '/api/events/stream';
let here: Installation;
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end();
  await here.close();
});

async function behindNginx(settings: readonly string[], ours: Record<string, unknown> = {}) {
  here = Installation.embedded();
  const worker = await here.worker({ sse: ours });
  const nginx = await startPlainNginx(worker.url, settings);
  open.push(() => nginx.close());
  // The keys of the demo are for this machine, and nobody knows who is behind this nginx.
  return { worker, url: nginx.url, visitor: await here.cookieOf(DEMO.anonymousSession) };
}

const change = () => expect.stringContaining(here.encode(anonymous));

// nginx/nginx#1505: with nginx's own settings (HTTP/1.0 to the server, buffering) events arrive when a buffer is full, or never.
it('events arrive at once where nginx is set up for nothing', async () => {
  const { url, visitor } = await behindNginx([]);
  const got = arriving(url + STREAM, visitor);
  await vi.waitFor(() => expect(got.text).toContain('event: ready'), { timeout: 5_000 });
  await here.change(anonymous);
  await vi.waitFor(() => expect(got.text).toEqual(change()), { timeout: 3_000 });
});

// gin-gonic/gin#1589: a compressing hop keeps events until it has enough of them.
it('events arrive at once where nginx compresses everything', async () => {
  const { url, visitor } = await behindNginx([
    'gzip on;',
    'gzip_types *;',
    'gzip_proxied any;',
    'gzip_min_length 0;',
    'gzip_http_version 1.0;',
  ]);
  const got = arriving(url + STREAM, { ...visitor, 'accept-encoding': 'gzip' });
  await vi.waitFor(() => expect(got.text).toContain('event: ready'), { timeout: 5_000 });
  expect(got.encoding).toBe('gzip');
  await here.change(anonymous);
  await vi.waitFor(() => expect(got.text).toEqual(change()), { timeout: 3_000 });
});

// vmware-archive/atc#139: browsers report ERR_INCOMPLETE_CHUNKED_ENCODING instead of coming back.
it('a stream that the server ends is a whole answer, not a broken one', async () => {
  const { worker, url, visitor } = await behindNginx(['proxy_http_version 1.1;']);
  const got = arriving(url + STREAM, visitor);
  await vi.waitFor(() => expect(got.text).toContain('event: ready'), { timeout: 5_000 });
  await worker.stop();
  await vi.waitFor(() => expect(got.end).toBe('whole'), { timeout: 5_000 });
});
