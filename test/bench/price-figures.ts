/**
 * What live updates ask of the database: the statements, rows and buffers of monitor and workers by PostgreSQL's own count,
 * and the CPU time of its sessions that serve them, at some rates of changes, numbers of workers and of tabs. What the
 * triggers cost the writers is not in it.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';
import { createDatabaseOn, type Services } from './bench-services.js';
import { Child } from './child.js';
import { rounded } from './statistics.js';
import { Streams } from './streams.js';
import type { WriteOptions } from './writer.js';

const WORKERS = [1, 8];
const TABS = [0, 5_000];
const RATES = [1, 20, 200, 5_000];
/** Each of a user of its own; at the highest rate each changes once a second. */
const HISTORIES = 5_000;
/** Stands in every `history_update` once, and in nothing else: the `[` of its ids. */
const BRACKET = 0x5b;
/** Until what was changed last is told. */
const SETTLE_MS = 1_000;

interface Counts {
  at: number;
  statements: number;
  rows: number;
  buffers: number;
  cpuSeconds: number;
  events: number;
}

export async function priceFigures(services: Services, seconds: number): Promise<Record<string, number>> {
  const admin = new pg.Client(services.postgres);
  await admin.connect();
  // What this program and the writer ask is told apart by its user.
  await admin.query(
    'DO $$ BEGIN CREATE ROLE writer SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN END $$',
  );
  const figures: Record<string, number> = {};
  try {
    for (const workers of WORKERS) {
      for (const tabs of TABS)
        Object.assign(figures, await priceWith(services, admin, { workers, tabs, seconds }));
    }
  } finally {
    await admin.end();
  }
  return figures;
}

async function priceWith(
  services: Services,
  admin: pg.Client,
  { workers, tabs, seconds }: { workers: number; tabs: number; seconds: number },
): Promise<Record<string, number>> {
  const database = await createDatabaseOn(services);
  const writerUrl = Object.assign(new URL(database), { username: 'writer' }).href;
  const port = await freePort();
  const env = {
    BENCH_DATABASE_URL: database,
    BENCH_AMQP_URL: services.amqp,
    BENCH_USERS: String(HISTORIES),
    BENCH_WORKERS: String(workers),
  };
  execFileSync(process.execPath, [join(import.meta.dirname, 'seed.js'), String(HISTORIES)], {
    env: { ...process.env, ...env },
  });
  const monitor = await Child.start('monitor', { env });
  const server = await Child.start('server', { args: [String(port)], env, ready: workers === 1 });
  const writer = await Child.start('writer', { ready: false });
  const streams = new Streams(BRACKET);
  const client = new pg.Client(writerUrl);
  await client.connect();
  const figures: Record<string, number> = {};
  try {
    await eventually(async () => (await beating(client)) >= workers, { within: 90_000, what: 'all workers' });
    if (tabs > 0)
      await streams.open({ port, count: tabs, first: 0, path: '/api/events/stream?key=bench-{i}' });
    for (const perSecond of RATES) {
      await sleep(2 * SETTLE_MS);
      const before = await counts(admin, database, streams);
      const options: WriteOptions = { url: writerUrl, perSecond, histories: HISTORIES, seconds };
      await writer.ask(options);
      await sleep(SETTLE_MS);
      const after = await counts(admin, database, streams);
      for (const [name, value] of Object.entries(priceOf(before, after)))
        figures[`${workers}/${tabs}/${perSecond}/${name}`] = value;
    }
  } finally {
    streams.close();
    await client.end();
    await writer.stop();
    await server.stop();
    await monitor.stop();
  }
  return figures;
}

async function beating(client: pg.Client): Promise<number> {
  const { rows } = await client.query("SELECT 1 FROM worker_process WHERE app_type = 'webapp'");
  return rows.length;
}

async function counts(admin: pg.Client, database: string, streams: Streams): Promise<Counts> {
  const name = new URL(database).pathname.slice(1);
  const { rows } = await admin.query<Omit<Counts, 'at' | 'cpuSeconds' | 'events'>>(
    `SELECT coalesce(sum(s.calls), 0)::float AS statements, coalesce(sum(s.rows), 0)::float AS rows,
            coalesce(sum(s.shared_blks_hit + s.shared_blks_read), 0)::float AS buffers
       FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid
      WHERE d.datname = $1 AND r.rolname <> 'writer'`,
    [name],
  );
  const sessions = await admin.query<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND usename <> 'writer'",
    [name],
  );
  const cpuSeconds = sessions.rows.reduce((sum, { pid }) => sum + cpuOf(pid), 0);
  return { ...rows[0]!, cpuSeconds, at: performance.now(), events: streams.delivered };
}

/** By the clock of the scheduler. */
function cpuOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e9;
  } catch {
    return 0;
  }
}

function priceOf(before: Counts, after: Counts): Record<string, number> {
  const seconds = (after.at - before.at) / 1000;
  const events = after.events - before.events;
  const each = (name: 'statements' | 'rows' | 'buffers', of: number): number =>
    rounded((after[name] - before[name]) / of, 3);
  const cpu = after.cpuSeconds - before.cpuSeconds;
  const perSecond = {
    events_per_second: rounded(events / seconds, 1),
    statements_per_second: each('statements', seconds),
    rows_per_second: each('rows', seconds),
    buffers_per_second: each('buffers', seconds),
    cpu_ms_per_second: rounded((cpu * 1000) / seconds),
  };
  if (events === 0) return perSecond;
  return {
    ...perSecond,
    statements_per_event: each('statements', events),
    rows_per_event: each('rows', events),
    buffers_per_event: each('buffers', events),
    cpu_us_per_event: rounded((cpu * 1e6) / events, 1),
  };
}
