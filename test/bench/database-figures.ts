/** What live updates cost the database: commits a second of writers beside the monitor, and the price of a changed history. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { cheaperFunction, cheaperTriggers } from '../../src/database/migrations/0008-cheaper-triggers.js';
import { startPostgres } from '../support/postgres.js';
import { locate } from '../support/programs.js';
import { createDatabaseOn } from './bench-services.js';
import { Child } from './child.js';
import { listen } from './monitor-figures.js';
import { median, percentiles, rounded } from './statistics.js';

const HISTORIES = 2_000;
/** Of their own, so that none is held back by the debounce window of its last change. */
const PROBES = 200;
/** 0 for none. */
const WRITERS = (process.env.BENCH_WRITERS?.split(',').map(Number) ?? [4, 32, 100]).filter(
  (count) => count > 0,
);
/** Of interleaved arms. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const RATES = process.env.BENCH_RATES?.split(',').map(Number) ?? [1, 20, 200, 5_000];
const ONLY = process.env.BENCH_ARMS?.split(',');
const SETTINGS = [
  'shared_preload_libraries=pg_stat_statements',
  'pg_stat_statements.track=top',
  'shared_buffers=512MB',
  'max_wal_size=8GB',
  'autovacuum=off',
  ...(process.env.BENCH_FSYNC ? ['fsync=on', 'synchronous_commit=on', 'full_page_writes=on'] : []),
];

const BODY = (column: string, body: string) => `
  CREATE OR REPLACE FUNCTION fn_audit_history_by_${column}() RETURNS trigger LANGUAGE plpgsql AS $body$
  BEGIN ${body} RETURN NULL; END; $body$`;
const INSERT = (rows: string, conflict: string) =>
  `INSERT INTO history_audit (history_id, update_time) SELECT ${rows} ${conflict};`;
const NOW = "(SELECT clock_timestamp() AT TIME ZONE 'UTC')";
const CONFLICT = 'ON CONFLICT DO NOTHING';
const ROWS = (column: string, now = NOW) => `${column}, ${now} FROM new_table WHERE ${column} IS NOT NULL`;
const DISTINCT = (column: string) =>
  `c.id, clock_timestamp() AT TIME ZONE 'UTC' FROM (SELECT DISTINCT ${column} AS id FROM new_table WHERE ${column} IS NOT NULL) c`;
const both = (body: (column: string) => string): string[] =>
  ['history_id', 'id'].map((column) => BODY(column, body(column)));
const inserting = (rows: (column: string) => string, conflict = CONFLICT): string[] =>
  both((column) => INSERT(rows(column), conflict));

export interface Arm {
  before: string[];
  after?: string[];
}

/** Before an arm: the triggers' bodies, or that there are none. */
export const ARMS: Record<string, Arm> = {
  none: {
    before: ['ALTER TABLE history DISABLE TRIGGER USER'],
    after: ['ALTER TABLE history ENABLE TRIGGER USER'],
  },
  audit: { before: ['history_id', 'id'].map((column) => cheaperFunction(column, '')) },
  /** What the audit row cost before migration 8; Galaxy's own triggers have this form. */
  distinct: { before: inserting(DISTINCT) },
  notify: {
    before: ['history_id', 'id'].map((column) =>
      cheaperFunction(
        column,
        `PERFORM pg_notify('galaxy_history_update', ${column}::text) FROM new_table WHERE ${column} IS NOT NULL;`,
      ),
    ),
  },
  quiet: { before: cheaperTriggers('postgresql') },
};
const DROP_KEY = 'ALTER TABLE history_audit DROP CONSTRAINT IF EXISTS history_audit_history_id_fkey';
const ADD_KEY = `ALTER TABLE history_audit
  ADD CONSTRAINT history_audit_history_id_fkey FOREIGN KEY (history_id) REFERENCES history`;
/** Forms of the trigger's own work, without NOTIFY. */
const FORMS: typeof ARMS = {
  quiet_without_reader: {
    before: [...cheaperTriggers('postgresql'), 'SELECT pg_advisory_lock(1279479365, 2)'],
    after: ['SELECT pg_advisory_unlock(1279479365, 2)'],
  },
  distinct: ARMS.distinct!,
  row_per_row: { before: inserting((column) => ROWS(column, "clock_timestamp() AT TIME ZONE 'UTC'")) },
  on_conflict_of_the_key: {
    before: inserting(ROWS, 'ON CONFLICT (history_id, update_time, xid) DO NOTHING'),
  },
  no_on_conflict: { before: inserting(ROWS, '') },
  foreign_key: { before: [...inserting(ROWS), ADD_KEY], after: [DROP_KEY] },
  fillfactor_of_70_percent: {
    before: [...inserting(ROWS), 'ALTER TABLE history SET (fillfactor = 70)', 'VACUUM FULL history'],
    after: ['ALTER TABLE history RESET (fillfactor)', 'VACUUM FULL history'],
  },
  no_time_index: {
    before: [...inserting(ROWS), 'DROP INDEX ix_history_audit_update_time'],
    after: ['CREATE INDEX ix_history_audit_update_time ON history_audit (update_time)'],
  },
  row_level: {
    before: [
      `CREATE OR REPLACE FUNCTION bench_audit_row() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN
         INSERT INTO history_audit (history_id, update_time) VALUES (NEW.id, clock_timestamp() AT TIME ZONE 'UTC')
         ON CONFLICT DO NOTHING; RETURN NULL; END; $body$`,
      'ALTER TABLE history DISABLE TRIGGER USER',
      'CREATE TRIGGER bench_row AFTER UPDATE ON history FOR EACH ROW EXECUTE FUNCTION bench_audit_row()',
    ],
    after: ['DROP TRIGGER bench_row ON history', 'ALTER TABLE history ENABLE TRIGGER USER'],
  },
};

export interface Bench {
  url: string;
  client: pg.Client;
  monitor: Child;
  amqp: string;
  restartMonitor(env: NodeJS.ProcessEnv): Promise<void>;
  stop(): Promise<void>;
}

export async function open(amqp: string, settings: string[] = []): Promise<Bench> {
  const postgres = await startPostgres({ settings: [...SETTINGS, ...settings] });
  const url = await createDatabaseOn({ postgres: postgres.url, amqp, stop: async () => {} });
  const env = { BENCH_DATABASE_URL: url, BENCH_AMQP_URL: amqp };
  execFileSync(process.execPath, [join(import.meta.dirname, 'seed.js'), String(HISTORIES + PROBES)], {
    env: { ...process.env, ...env },
  });
  const client = new pg.Client(url);
  await client.connect();
  await client.query('CREATE EXTENSION pg_stat_statements; CREATE ROLE writer SUPERUSER LOGIN');
  const bench: Bench = {
    url,
    client,
    monitor: await Child.start('monitor', { env }),
    amqp,
    restartMonitor: async (more) => {
      await bench.monitor.stop();
      bench.monitor = await Child.start('monitor', { env: { ...env, ...more } });
      await sleep(3_000);
    },
    stop: async () => {
      await bench.monitor.stop();
      await client.end();
      await postgres.stop();
    },
  };
  await sleep(3_000);
  return bench;
}

/** @returns transactions a second */
export async function pgbench(url: string, writers: number, seconds: number, rate?: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'lightcone-pgbench-'));
  const script = join(folder, 'update.sql');
  writeFileSync(
    script,
    `\\set id random(1, ${HISTORIES})\nUPDATE history SET name = 'n' || :id || random() WHERE id = :id;\n`,
  );
  const { hostname, port, pathname } = new URL(url);
  const { stdout } = await promisify(execFile)(join(dirname(locate('postgresql')), 'pgbench'), [
    ...['-n', '-M', 'prepared', '-h', hostname, '-p', port, '-U', 'writer', '-f', script],
    ...['-c', String(writers), '-j', '2', '-T', String(seconds), ...(rate ? ['-R', String(rate)] : [])],
    pathname.slice(1),
  ]);
  rmSync(folder, { recursive: true });
  return Number(/^tps = ([\d.]+)/m.exec(stdout)![1]);
}

/** Commits a second with each of the triggers, and the price of a changed history. */
export async function databaseFigures(services: { amqp: string }, seconds: number) {
  const bench = await open(services.amqp);
  try {
    const figures = await compare(bench, ARMS, WRITERS, seconds);
    // The writers left many dead rows, and nobody vacuumed meanwhile.
    for (const statement of ['TRUNCATE history_audit', 'VACUUM history']) await bench.client.query(statement);
    for (const rate of RATES) Object.assign(figures, await price(bench, rate, seconds));
    return figures;
  } finally {
    await bench.stop();
  }
}

/** The trigger's own work, in one form or another. */
export async function formFigures(services: { amqp: string }, seconds: number) {
  const bench = await open(services.amqp);
  try {
    return await compare(bench, { audit: ARMS.audit!, ...FORMS }, [32], seconds);
  } finally {
    await bench.stop();
  }
}

/** `BENCH_ARMS=audit,quiet` takes only these. */
async function compare(bench: Bench, arms: typeof ARMS, writers: readonly number[], seconds: number) {
  const chosen = Object.entries(arms).filter(([name]) => ONLY?.includes(name) ?? true);
  const figures: Record<string, number> = {};
  for (const count of writers) {
    const rates: Record<string, number[]> = {};
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [name, arm] of chosen) {
        const rate = await commits(bench, arm, count, seconds);
        rates[name] = [...(rates[name] ?? []), rate];
      }
    }
    for (const [name, all] of Object.entries(rates)) {
      figures[`${count}/${name}/commits_per_second`] = rounded(median(all), 0);
      const shares = all.map((rate, round) => rate / (rates.audit?.[round] ?? Number.NaN));
      figures[`${count}/${name}/of_audit`] = rounded(median(shares));
    }
  }
  return figures;
}

async function commits(
  { client, url }: Bench,
  { before, after = [] }: Arm,
  writers: number,
  seconds: number,
) {
  for (const statement of ['TRUNCATE history_audit', ...before, 'CHECKPOINT']) await client.query(statement);
  await sleep(1_500);
  const rate = await pgbench(url, writers, seconds);
  for (const statement of after) await client.query(statement);
  await sleep(1_500);
  return rate;
}

/** What the monitor asks at so many changes a second, and how soon a lone change beside them is a task. */
async function price(bench: Bench, rate: number, seconds: number): Promise<Record<string, number>> {
  const { client, url } = bench;
  const heard = await listen(bench.amqp);
  const probing = new AbortController();
  const writing = pgbench(url, 8, seconds + 4, rate);
  await sleep(3_000);
  heard.reset();
  await client.query('SELECT pg_stat_statements_reset()');
  const cpuBefore = await backendCpu(client);
  const begun = performance.now();
  const probes = probe(url, heard, probing.signal);
  await sleep(seconds * 1_000);
  const took = (performance.now() - begun) / 1000;
  const cpu = (await backendCpu(client)) - cpuBefore;
  const { rows } = await client.query(
    `SELECT sum(calls)::float AS calls, sum(total_exec_time)::float AS ms, sum(rows)::float AS rows,
            sum(shared_blks_hit + shared_blks_read)::float AS buffers
       FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
      WHERE r.rolname <> 'writer' AND query NOT LIKE '%pg_stat%'`,
  );
  const told = heard.histories;
  probing.abort();
  const lags = percentiles(await probes);
  await writing;
  await heard.stop();
  const { calls, ms, rows: read, buffers } = rows[0];
  const name = (what: string) => `${rate}/${what}`;
  return {
    [name('statements_per_second')]: rounded(calls / took, 1),
    [name('database_cpu_share')]: rounded(cpu / took, 4),
    [name('histories_told_per_second')]: rounded(told / took, 1),
    [name('statement_ms_per_history_told')]: rounded(ms / told, 3),
    [name('rows_per_history_told')]: rounded(read / told, 1),
    [name('buffers_per_history_told')]: rounded(buffers / told, 1),
    [name('lone_commit_to_task_p50_ms')]: rounded(lags?.p50 ?? Number.NaN, 1),
    [name('lone_commit_to_task_p99_ms')]: rounded(lags?.p99 ?? Number.NaN, 1),
  };
}

/** A change of a quiet history, three times a second. @returns milliseconds from its commit to its task */
export async function probe(url: string, heard: { ids: Set<number> }, over: AbortSignal): Promise<number[]> {
  const asWriter = new URL(url);
  asWriter.username = 'writer';
  const client = new pg.Client(asWriter.href);
  await client.connect();
  const lags: number[] = [];
  for (let i = 0; !over.aborted; i += 1) {
    const id = HISTORIES + 1 + (i % PROBES);
    heard.ids.delete(id);
    await client.query('UPDATE history SET name = $1 WHERE id = $2', [String(i), id]);
    const committed = performance.now();
    while (!heard.ids.has(id) && performance.now() - committed < 2_000) await sleep(1);
    lags.push(performance.now() - committed);
    await sleep(20);
  }
  await client.end();
  return lags;
}

/** Seconds of the monitor's server processes so far. */
async function backendCpu(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'lightcone%'",
  );
  return rows.reduce((sum, { pid }) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) / 100;
  }, 0);
}
