/** What the status page costs the browser that shows it: 20 processes with 100,000 streams, told once a second. */
import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { COUNTERS } from '../../src/core/notices.js';
import type { ClusterNow, HistoryBucket } from '../../src/http/routes/cluster-source.js';
import { type ChromiumEngine, chromiumEngine } from '../support/chromium.js';
import { Installation } from '../support/installation.js';
import { StreamProxy } from '../support/stream-proxy.js';

const PROCESSES = 20;
const STREAMS = 100_000;
const BUCKET_SECONDS = 5;
const MEASURED_SECONDS = 15;
const MOST_MS_PER_SECOND = 50;

let engine: ChromiumEngine;
let here: Installation;
let proxy: StreamProxy;
const timers = new Set<ReturnType<typeof setInterval>>();
beforeAll(async () => {
  here = Installation.embedded();
  const [browser, { url }] = await Promise.all([chromiumEngine(), here.worker()]);
  engine = browser;
  proxy = await StreamProxy.to(url);
});
afterAll(async () => {
  for (const timer of timers) clearInterval(timer);
  await engine.close();
  await proxy.stop();
  await here.close();
});

const began = Date.now();
let second = 0;
const wave = (index: number, height: number): number =>
  Math.round(height * (1 + Math.sin(second / 3 + index)));

/** Every figure moves every second. */
function now(): ClusterNow {
  const processes = Array.from({ length: PROCESSES }, (_, index) => ({
    key: `worker.${index}@host-${index % 4}/${index}.${began}`,
    name: `worker.${index}`,
    host: `host-${index % 4}`,
    pid: 1_000 + index,
    startedAt: began - 3_600_000,
    role: 'worker' as const,
    version: '0.1.0',
    state: 'heard' as const,
    heard_ms: 100 + wave(index, 200),
    leaving: false,
    ready: true,
    problems: index % 7 === 0 ? ['broker y does not answer'] : [],
    database: 'postgresql',
    bus: 'amqp',
    leadingSeconds: index === 0 ? 3_600 + second : null,
    leader: 'worker.0',
    gauges: {
      streams: STREAMS / PROCESSES + wave(index, 20),
      users: STREAMS / PROCESSES / 2 + wave(index, 9),
      sessions: 10,
      limit: 20_000,
      waiting: wave(index, 50),
      blocked: wave(index, 4),
      watermark_age_ms: 500 + wave(index, 250),
      cursor_age_ms: index === 0 ? 400 : null,
    },
    counters: Object.fromEntries(
      COUNTERS.map((name, place) => [name, (place + 1) * 1_000 * second + wave(index, 50)]),
    ) as ClusterNow['processes'][number]['counters'],
  }));
  const refusals = Array.from({ length: 50 }, (_, index) => ({
    at: began + second * 1_000 - index * 700,
    reason: 'CREDENTIALS_INVALID',
    address: `10.0.${second % 250}.${index}`,
    process: `worker.${index % PROCESSES}`,
  }));
  return { self: processes[0]!.key, processes, refusals };
}

function bucket(at: number): HistoryBucket {
  return {
    at,
    streams: STREAMS + wave(0, 400),
    waiting: wave(1, 300),
    rates: Object.fromEntries(
      COUNTERS.map((name, place) => [name, wave(place, 400)]),
    ) as HistoryBucket['rates'],
    p50: 5 + wave(2, 4),
    p99: 40 + wave(3, 30),
    watermarks: Object.fromEntries(
      Array.from({ length: PROCESSES }, (_, index) => [`worker.${index}`, 500 + wave(index, 300)]),
    ),
  };
}

/** One hundred of them, as the server pages them; all of them young ones at each look. */
const streams = () => ({
  total: STREAMS + wave(0, 400),
  next: 'more',
  silent: [],
  streams: Array.from({ length: 100 }, (_, index) => ({
    stream: `worker.${index % PROCESSES}~${second}~${index}`,
    opened_at: Date.now() / 1_000 - index / 10,
    user: index % 9 === 0 ? null : { id: `u${index}`, email: `user-${second}-${index}@example.org` },
    address: `10.1.${index}.${second % 250}`,
    state: ['live', 'catching_up', 'blocked', 'lagging'][(index + second) % 4],
    waiting: wave(index, 9),
    process: `worker.${index % PROCESSES}`,
  })),
});

function live(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (event: string, data: unknown) =>
    response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  const at = Math.floor(Date.now() / 1_000);
  const buckets = Array.from({ length: 900 / BUCKET_SECONDS }, (_, index) =>
    bucket(at - 900 + index * BUCKET_SECONDS),
  );
  send('history', { bucket_seconds: BUCKET_SECONDS, buckets });
  send('now', now());
  const timer = setInterval(() => {
    second += 1;
    if (second % BUCKET_SECONDS === 0) send('bucket', bucket(at + second));
    send('now', now());
  }, 1_000);
  timers.add(timer);
  response.on('close', () => clearInterval(timer));
}

it('updates in under 50 ms of the main thread per second, with all of it in one screen', async () => {
  proxy.answer = (path, response) => {
    if (path.startsWith('/api/status/live')) live(response);
    else if (path.startsWith('/api/status/streams'))
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(streams()));
    else return false;
    return true;
  };
  const page = await engine.context.newPage();
  // Everything in view: what is out of it need not be painted.
  await page.setViewportSize({ width: 1_280, height: 6_000 });
  await page.goto(`${proxy.url}/status`);
  await page.locator('#login input').fill('demo-admin');
  await page.getByRole('button', { name: 'Show the status' }).click();
  await expect.poll(() => page.locator('#streams tr').count(), { timeout: 10_000 }).toBe(100);
  expect(await page.locator('#processes tr').count()).toBe(PROCESSES);
  expect(await page.locator('#plots canvas').count()).toBe(8);
  const session = await engine.context.newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'timeTicks' });
  const read = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    const of = (name: string) => metrics.find((metric) => metric.name === name)!.value;
    // Of the processor, not of the clock: what others do on this machine is not the page's.
    return { at: of('Timestamp'), busy: of('ThreadTime') };
  };
  await page.waitForTimeout(3_000);
  const flow = await page.locator('#flow').textContent();
  const before = await read();
  await page.waitForTimeout(MEASURED_SECONDS * 1_000);
  const after = await read();
  expect(await page.locator('#flow').textContent()).not.toBe(flow);
  const perSecond = ((after.busy - before.busy) * 1_000) / (after.at - before.at);
  console.info(`status page: ${perSecond.toFixed(1)} ms of the main thread per second`);
  expect(perSecond).toBeLessThan(MOST_MS_PER_SECOND);
}, 60_000);
