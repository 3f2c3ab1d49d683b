/** The monitor under many changes: does it keep up, with how many statements, and how late are its tasks. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { AmqpBus } from '../../src/bus/amqp/bus.js';
import type { ControlTask } from '../../src/core/events.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { Child } from './child.js';
import { percentiles, rounded } from './statistics.js';
import type { WriteOptions } from './writer.js';

const HISTORIES = 1000;
const CHANGES_PER_SECOND = 5000;

export async function monitorFigures(services: { amqp: string; postgres: string }, seconds: number) {
  const env = { BENCH_DATABASE_URL: services.postgres, BENCH_AMQP_URL: services.amqp };
  execFileSync(process.execPath, [join(import.meta.dirname, 'seed.js'), String(HISTORIES)], {
    env: { ...process.env, ...env },
  });
  const client = new pg.Client(services.postgres);
  await client.connect();
  const heard = await listen(services.amqp);
  const monitor = await Child.start('monitor', { env });
  const writer = await Child.start('writer', { ready: false });
  const write = (options: Partial<WriteOptions> = {}): Promise<number> =>
    writer.ask({
      url: services.postgres,
      perSecond: CHANGES_PER_SECOND,
      histories: HISTORIES,
      seconds,
      ...options,
    });

  await write({ seconds: 2 });
  await sleep(2000);
  heard.reset();
  const before = { ...(await usage(monitor)), transactions: await transactions(client) };
  const begin = performance.now();
  const changes = await write();
  const writing = (performance.now() - begin) / 1000;
  await sleep(1500);
  const after = { ...(await usage(monitor)), transactions: await transactions(client) };
  const lag = percentiles(heard.lags);
  const figures = {
    changes_per_second: rounded(changes / writing, 0),
    histories_told_per_second: rounded(heard.histories / writing, 0),
    histories_never_told: HISTORIES - heard.ids.size,
    tasks_per_second: rounded(heard.lags.length / writing, 1),
    statements_per_second: rounded((after.transactions - before.transactions - changes) / writing, 1),
    share_of_a_core: rounded((after.cpuSeconds - before.cpuSeconds) / writing),
    rss_mib: rounded(after.rssBytes / 1024 / 1024, 0),
    newest_change_to_task_p50_ms: rounded(lag?.p50 ?? 0, 1),
    newest_change_to_task_p99_ms: rounded(lag?.p99 ?? 0, 1),
  };
  await writer.stop();
  await monitor.stop();
  await heard.stop();
  await client.end();
  return figures;
}

const usage = (monitor: Child): Promise<{ cpuSeconds: number; rssBytes: number }> =>
  monitor.ask({ ask: 'usage' });

/** Every statement outside an explicit transaction is one. */
async function transactions(client: pg.Client): Promise<number> {
  // The sessions report what they did after a second at the latest.
  await sleep(1500);
  const { rows } = await client.query<{ n: string }>(
    'SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()',
  );
  return Number(rows[0]!.n);
}

export async function listen(url: string) {
  const heard = {
    histories: 0,
    ids: new Set<number>(),
    /** From the newest change of a task to its arrival. */
    lags: [] as number[],
    reset: () => {
      heard.histories = 0;
      heard.ids.clear();
      heard.lags = [];
    },
    stop: () => bus.stop(),
  };
  const bus = new AmqpBus({
    url,
    serverName: 'bench.listener',
    secret: 'only tasks are counted',
    logger: createLogger('error'),
    metrics: noMetrics,
    clock: systemClock,
    random: Math.random,
  });
  bus.subscribe({
    onTask: (received) => {
      const task = received as ControlTask;
      if (task.task !== 'history_update') return;
      for (const ids of task.userUpdates.values()) {
        heard.histories += ids.length;
        for (const id of ids) heard.ids.add(id);
      }
      if (task.updateTime !== undefined) heard.lags.push((systemClock.now() - task.updateTime) / 1000);
    },
    onTick: () => {},
    onGap: () => {},
  });
  await bus.start();
  return heard;
}
