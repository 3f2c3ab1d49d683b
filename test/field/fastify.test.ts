/** What other people's servers met with Fastify when they were stopped. Each test names its report. */
import { Agent, get, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import type { ServiceProcess } from '../support/processes.js';

let here: Installation;
let service: ServiceProcess;
let url: string;
const agent = new Agent({ keepAlive: true, maxSockets: 5 });
beforeEach(async () => {
  here = Installation.embedded();
  service = here.process(['serve', '--demo']);
  url = await service.address();
});
afterEach(async () => {
  agent.destroy();
  await here.close();
});

const status = (path: string): Promise<number> =>
  new Promise((resolve, reject) => {
    get(url + path, { agent }, (answer: IncomingMessage) => {
      answer.resume().on('end', () => resolve(answer.statusCode!));
    }).on('error', reject);
  });
async function endsSoon(): Promise<void> {
  const at = performance.now();
  service.signal('SIGTERM');
  expect(await service.exited).toEqual({ code: 0, signal: null });
  expect(performance.now() - at).toBeLessThan(5_000);
}

// fastify/sse#57: one response that never ends keeps `close` from resolving.
it('open streams are ended properly, and do not keep the process', async () => {
  const streams = await Promise.all([
    here.stream(url),
    here.stream(url, ''),
    here.stream(url, 'key=demo-bob'),
  ]);
  await endsSoon();
  expect(await Promise.all(streams.map((stream) => stream.ended()))).toEqual(['end', 'end', 'end']);
});

// fastify/fastify#3186: `close` is not resolved after a browser was there, until the page is loaded twice more.
it('connections that are kept alive and idle do not keep the process', async () => {
  expect(await Promise.all(Array.from({ length: 5 }, () => status('/api/version')))).toEqual([
    200, 200, 200, 200, 200,
  ]);
  await endsSoon();
});

// fastify/fastify#5524: `close` does its work only when a further request comes, and that one gets a 503.
it('a stream that was refused and a page that was read leave nothing that waits for a further request', async () => {
  expect(await status('/api/events/stream?key=wrong')).toBe(401);
  expect(await status('/api/nothing')).toBe(404);
  expect(await status('/')).toBe(200);
  await endsSoon();
});
