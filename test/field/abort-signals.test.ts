/** What others met with signals that live longer than the requests they may end. The client's poller has one for days. */
import { getEventListeners } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { request } from '../../packages/client/src/http.js';

let asked = 0;
const server = createServer((_, response) => {
  asked += 1;
  response.setHeader('content-type', 'application/json').end('{}');
});
beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
afterAll(() => new Promise((resolve) => server.close(resolve)));
const settings = () => ({
  baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
  apiKey: '',
  withCredentials: false,
  identity: '',
  keepaliveMs: 30_000,
  polling: true,
});

// nodejs/undici#5285, nodejs/node#52635: each request leaves a listener on the signal, and a page that polls grows for ever.
it('a request leaves no listener on the signal of its caller', async () => {
  const { signal } = new AbortController();
  for (let i = 0; i < 20; i += 1) expect((await request(settings(), 'x', { signal })).status).toBe(200);
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

// nodejs/node#52635: who listens only for the event does not hear of a signal that was aborted before.
it('a request whose signal is aborted already is not sent', async () => {
  const before = asked;
  expect(await request(settings(), 'x', { signal: AbortSignal.abort() })).toEqual({
    status: 0,
    body: undefined,
  });
  expect(asked).toBe(before);
});
