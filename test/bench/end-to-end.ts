/** From a commit, by another program, to the bytes on the socket of the history's owner. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import pg from 'pg';
import { freePort } from '../support/free-port.js';
import { Child } from './child.js';
import { percentiles, rounded } from './statistics.js';
import { Streams } from './streams.js';
import type { WriteOptions } from './writer.js';

/** Each history changes once a second, so that none is held back by the debounce window of its last change. */
const HISTORIES = 200;
const CHANGES_PER_SECOND = 200;
/** Users have one each; those that nobody watches are changed beside. */
const USERS = 2_000;
/** Stands in every `history_update` once, and in nothing else: the `[` of its ids. */
const BRACKET = 0x5b;

/** @param beside changes a second of histories that nobody watches, by eight other writers */
export async function onPostgres(services: { amqp: string; postgres: string }, seconds: number, beside = 0) {
  const client = new pg.Client(services.postgres);
  await client.connect();
  const env = { BENCH_DATABASE_URL: services.postgres, BENCH_AMQP_URL: services.amqp };
  const writer = beside > 0 ? await Child.start('writer', { ready: false }) : undefined;
  const write: WriteOptions = {
    url: services.postgres,
    perSecond: beside,
    histories: USERS - HISTORIES,
    first: HISTORIES + 1,
    seconds: seconds + 2,
  };
  const change = async (historyId: number) => {
    await client.query('UPDATE history SET name = $1 WHERE id = $2', [String(performance.now()), historyId]);
  };
  const figures = await measure(env, seconds, change, async () => {
    void writer?.ask(write).catch(() => {});
    // Until the monitor polls.
    if (writer) await sleep(1_500);
  });
  await writer?.stop();
  await client.end();
  return figures;
}

export async function onSqlite(seconds: number) {
  const file = join(mkdtempSync(join(tmpdir(), 'lightcone-bench-')), 'bench.sqlite');
  let database: BetterSqlite.Database | undefined;
  const figures = await measure({ BENCH_SQLITE_FILE: file }, seconds, async (historyId) => {
    database ??= new BetterSqlite(file);
    database.prepare('UPDATE history SET name = ? WHERE id = ?').run(String(performance.now()), historyId);
  });
  database?.close();
  return figures;
}

async function measure(
  env: NodeJS.ProcessEnv,
  seconds: number,
  change: (historyId: number) => Promise<void>,
  before: () => Promise<void> = async () => {},
) {
  const port = await freePort();
  // The monitor first, and alone: it leads from the beginning, and need not take the role from the worker later.
  const monitor = env.BENCH_AMQP_URL ? await Child.start('monitor', { env }) : undefined;
  const server = await Child.start('server', {
    args: [String(port)],
    env: { BENCH_USERS: String(USERS), ...env },
  });
  const streams = new Streams(BRACKET);
  await streams.open({ port, count: HISTORIES, first: 0, path: '/api/events/stream?key=bench-{i}' });
  const changedAt = new Float64Array(HISTORIES);
  const latencies: number[] = [];
  streams.onDelivered = (stream) => {
    if (changedAt[stream] === 0) return;
    latencies.push(performance.now() - changedAt[stream]!);
    changedAt[stream] = 0;
  };
  // Nobody leads at once.
  for (;;) {
    changedAt[0] = performance.now();
    await change(1);
    await sleep(500);
    if (changedAt[0] === 0) break;
  }
  await before();
  latencies.length = 0;
  let lost = 0;
  const begin = performance.now();
  for (let i = 0; i < seconds * CHANGES_PER_SECOND; i += 1) {
    const stream = i % HISTORIES;
    if (changedAt[stream] !== 0) lost += 1;
    changedAt[stream] = performance.now();
    await change(stream + 1);
    const wait = begin + ((i + 1) / CHANGES_PER_SECOND) * 1000 - performance.now();
    if (wait > 0) await sleep(wait);
  }
  await sleep(1000);
  lost += changedAt.filter((at) => at !== 0).length;
  streams.close();
  await monitor?.stop();
  await server.stop();
  const { p50 = 0, p90 = 0, p99 = 0, max = 0 } = percentiles(latencies) ?? {};
  return {
    p50_ms: rounded(p50),
    p90_ms: rounded(p90),
    p99_ms: rounded(p99),
    max_ms: rounded(max),
    later_than_a_second: lost,
  };
}
