/**
 * How long a lone change takes from the statement to `data:` on the socket: on PostgreSQL and RabbitMQ with a worker and a
 * monitor of its own, and on SQLite written by another process. Prints median and worst of each.
 *
 *     npm run build && npx tsc -p test/bench && node test/bench/build/test/bench/latency.js [CHANGES]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { startPostgres } from '../support/postgres.js';
import { startRabbit } from '../support/rabbitmq.js';
import { SseClient } from '../support/sse-client.js';

const CHANGES = Number(process.argv[2] ?? 40);
/** Longer than the debounce window, so that each change is a lone one; odd, so that it meets every phase of a poll. */
const PAUSE_MS = 333;
const CLI = resolve('dist/cli.js');
const folder = mkdtempSync(join(tmpdir(), 'lightcone-latency-'));
const epochMs = (): number => performance.timeOrigin + performance.now();
const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

interface Service {
  address: string;
  stop(): Promise<void>;
}

function start(args: string[], galaxy: Record<string, string>): Promise<Service> {
  const file = join(folder, `${args[0]}.yml`);
  writeFileSync(file, JSON.stringify({ galaxy: { enable_sse_updates: true, ...galaxy } }));
  const child = spawn(process.execPath, [CLI, ...args, '-c', file], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise<void>((done) => child.once('close', () => done()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
  };
  return new Promise((done, reject) => {
    void ended.then(() => reject(new Error(`${args[0]} ended`)));
    createInterface({ input: child.stderr }).on('line', (text) => {
      const line = JSON.parse(text) as { msg: string; address?: string };
      if (line.msg === 'ready' || line.msg.startsWith('leading')) done({ address: line.address ?? '', stop });
    });
  });
}

/** @param change makes one; @returns when its statement was sent, in milliseconds since 1970 */
async function measure(name: string, address: string, change: (n: number) => Promise<number>): Promise<void> {
  const stream = await SseClient.ready(`${address}/api/events/stream?key=demo-alice`);
  const delays: number[] = [];
  for (let n = -5; n < CHANGES; n += 1) {
    await pause(PAUSE_MS);
    const from = stream.frames.length;
    const at = await change(n);
    const frame = await stream.waitFor(({ event }) => event === 'history_update', { from });
    // The first ones warm up.
    if (n >= 0) delays.push(performance.timeOrigin + frame.at - at);
  }
  stream.close();
  delays.sort((a, b) => a - b);
  const at = (share: number) =>
    delays[Math.min(delays.length - 1, Math.floor(delays.length * share))]!.toFixed(1);
  console.log(
    `${name}: median ${at(0.5)} ms, 95 % ${at(0.95)} ms, worst ${at(1)} ms (${CHANGES} lone changes)`,
  );
}

async function onPostgres(): Promise<void> {
  const [postgres, rabbit] = await Promise.all([startPostgres(), startRabbit()]);
  const client = new pg.Client(postgres.url);
  const settings = { database_connection: postgres.url, amqp_internal_connection: rabbit.amqpUrl };
  const services: Service[] = [];
  try {
    services.push(await start(['monitor', '--listen', '127.0.0.1:0'], settings));
    services.push(await start(['serve', '--demo', '--listen', '127.0.0.1:0'], settings));
    await client.connect();
    await measure('PostgreSQL and AMQP', services[1]!.address, async (n) => {
      const at = epochMs();
      await client.query('UPDATE history SET name = $1 WHERE id = 1', [`latency ${n}`]);
      return at;
    });
  } finally {
    await client.end();
    for (const service of services) await service.stop();
    await Promise.all([postgres.stop(), rabbit.stop()]);
  }
}

const WRITER = `
  const db = new (require('better-sqlite3'))(process.argv[1]);
  const change = db.prepare('UPDATE history SET name = ? WHERE id = 1');
  process.on('message', (n) => {
    const at = performance.timeOrigin + performance.now();
    change.run('latency ' + n);
    process.send(at);
  });`;

async function onSqlite(): Promise<void> {
  const file = join(folder, 'latency.sqlite');
  const service = await start(['serve', '--demo', '--listen', '127.0.0.1:0'], {
    database_connection: `sqlite:///${file}`,
  });
  const writer = spawn(process.execPath, ['-e', WRITER, file], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  try {
    await measure('SQLite, written by another process', service.address, (n) => {
      const answered = new Promise<number>((done) => writer.once('message', (at) => done(at as number)));
      writer.send(n);
      return answered;
    });
  } finally {
    writer.kill();
    await service.stop();
  }
}

try {
  await onPostgres();
  await onSqlite();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
