/**
 * The server under test: the worker as `lightcone serve` composes it, on a seeded database and without limits.
 *
 *     node --expose-gc server.js PORT
 *
 * The environment is that of `settings.ts`, and
 *
 * `BENCH_USERS`         users in the database, 20000
 *
 * Without a broker and a parent `POST /` on PORT + 1 publishes the body as a broadcast, `POST /?u=N` to user number N, on the worker's
 * own bus. SIGUSR2 collects garbage. To a parent it answers `{ ask: 'usage' | 'gc' }`.
 */
import { execFileSync } from 'node:child_process';
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { supervise } from '../../src/app/processes/supervisor.js';
import { Worker } from '../../src/app/processes/worker.js';
import type { Bus } from '../../src/bus/port.js';
import { systemClock } from '../../src/lib/clock.js';
import { boundYoungGeneration } from '../../src/node-internals/young-generation.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { now, stampReceipt } from './payload.js';
import { configFromBenchEnvironment } from './settings.js';

boundYoungGeneration();
const { env } = process;
const port = Number(process.argv[2]);
const config = configFromBenchEnvironment(port);
const logger = createLogger(config.logLevel);
/** Control tasks so far. */
let received = 0;
const runtime = { logger, clock: systemClock, random: Math.random };

if (cluster.isPrimary) {
  // In a process of its own, so that its garbage is not in the server's memory.
  execFileSync(process.execPath, [join(import.meta.dirname, 'seed.js'), env.BENCH_USERS ?? '20000'], { env });
}
process.on('SIGUSR2', () => {
  globalThis.gc?.();
  globalThis.gc?.();
});
if (config.sse.workers > 1) {
  await supervise(config, { demo: false, logger });
} else {
  const worker = await Worker.create({
    config,
    serverName: 'bench',
    demo: false,
    supervised: false,
    runtime,
  });
  await worker.start();
  process.on('SIGTERM', () => void worker.stop().then(() => process.exit(0)));
  if (process.send) stampReceipts(worker);
  if (!env.BENCH_AMQP_URL && !process.send) publishOverHttp(worker.bus, port + 1);
  process.on('message', ({ ask }: { ask: 'usage' | 'gc' }) => {
    if (ask === 'gc') globalThis.gc?.();
    process.send!({ value: usage(worker) });
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ ready: true });
}

export interface Usage {
  cpuSeconds: number;
  rssBytes: number;
  heapBytes: number;
  tabs: number;
  received: number;
}

function usage(worker: Worker): Usage {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    rssBytes: rss,
    heapBytes: heapUsed,
    tabs: worker.manager.registry.all.length,
    received,
  };
}

/** Writes the time of the receipt into each measured event. */
function stampReceipts({ manager }: Worker): void {
  const onTask = manager.onTask.bind(manager);
  manager.onTask = (task) => {
    received += 1;
    const { payload } = task as { payload?: string };
    onTask(
      payload === undefined ? task : Object.assign({ ...task }, { payload: stampReceipt(payload, now()) }),
    );
  };
}

function publishOverHttp(bus: Bus, publishPort: number): void {
  createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
    let payload = '';
    request.setEncoding('utf8');
    request.on('data', (text: string) => {
      payload += text;
    });
    request.on('end', () => {
      const user = new URL(request.url ?? '/', 'http://bench').searchParams.get('u');
      void bus.publish(
        user === null
          ? { task: 'notify_broadcast', payload }
          : { task: 'notify_users', userIds: [Number(user) + 1], payload },
      );
      response.writeHead(204).end();
    });
  }).listen({ port: publishPort, host: '127.0.0.1', backlog: 4096 });
}
