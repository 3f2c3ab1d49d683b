/** Ways to learn of changes, beside each other: what the writers have left, and how late a lone change is. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { ARMS, type Bench, open, pgbench, probe } from './database-figures.js';
import { listen } from './monitor-figures.js';
import { median, percentiles, rounded } from './statistics.js';

const WRITERS = 32;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const POLL_MS = 50;
/** The monitor has no part in it. */
const SELDOM = { BENCH_POLL_MS: '2000000' };

interface Source {
  triggers: keyof typeof ARMS;
  /** Of the monitor. */
  env?: NodeJS.ProcessEnv;
  /** Runs beside the writers. */
  beside?: (url: string, over: AbortSignal) => Promise<void>;
}

const SOURCES: Record<string, Source> = {
  nobody: { triggers: 'audit', env: SELDOM },
  quiet_triggers: { triggers: 'quiet' },
  notify: { triggers: 'notify' },
  polling: {
    triggers: 'audit',
    env: { BENCH_POLL_MS: String(POLL_MS) },
  },
  // By SQL function: what the server decodes, without a monitor behind it.
  decoding: { triggers: 'audit', env: SELDOM, beside: decode },
};

export async function sourceFigures({ amqp }: { amqp: string }, seconds: number) {
  const bench = await open(amqp, ['wal_level=logical', 'max_replication_slots=2']);
  const rates: Record<string, number[]> = {};
  const alone: Record<string, number[]> = {};
  const busy: Record<string, number[]> = {};
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [name, source] of Object.entries(SOURCES)) {
        const tells = name !== 'nobody' && !source.beside;
        for (const statement of ['TRUNCATE history_audit', ...ARMS[source.triggers]!.before, 'CHECKPOINT'])
          await bench.client.query(statement);
        await bench.restartMonitor(source.env ?? {});
        if (tells) alone[name] = [...(alone[name] ?? []), ...(await lags(bench, sleep(seconds * 500)))];
        const over = new AbortController();
        const beside = source.beside?.(bench.url, over.signal);
        const writing = pgbench(bench.url, WRITERS, seconds);
        if (tells) busy[name] = [...(busy[name] ?? []), ...(await lags(bench, writing))];
        rates[name] = [...(rates[name] ?? []), await writing];
        over.abort();
        await beside;
      }
    }
  } finally {
    await bench.stop();
  }
  const figures: Record<string, number> = {};
  for (const [name, all] of Object.entries(rates)) {
    figures[`${name}/commits_per_second`] = rounded(median(all), 0);
    figures[`${name}/of_nobody`] = rounded(median(all.map((rate, i) => rate / rates.nobody![i]!)));
    for (const [when, found] of Object.entries({ alone, busy })) {
      const lag = percentiles(found[name] ?? []);
      if (!lag) continue;
      figures[`${name}/${when}_p50_ms`] = rounded(lag.p50, 1);
      figures[`${name}/${when}_p99_ms`] = rounded(lag.p99, 1);
    }
  }
  return figures;
}

/** Of lone changes until then. */
async function lags({ amqp, url }: Bench, until: Promise<unknown>): Promise<number[]> {
  const heard = await listen(amqp);
  const over = new AbortController();
  const probing = probe(url, heard, over.signal);
  await until;
  over.abort();
  const found = await probing;
  await heard.stop();
  return found;
}

async function decode(url: string, over: AbortSignal): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query("SELECT pg_create_logical_replication_slot('bench', 'test_decoding')");
  while (!over.aborted) {
    await client.query(
      "SELECT data FROM pg_logical_slot_get_changes('bench', NULL, NULL, 'skip-empty-xacts', '1')",
    );
    await sleep(POLL_MS);
  }
  await client.query("SELECT pg_drop_replication_slot('bench')");
  await client.end();
}
