import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../../src/config/config.js';
import { loadConfig } from '../../src/config/load.js';

/**
 * The settings of a process under test. What it forks sees the same.
 *
 * `BENCH_AMQP_URL`      the broker; without it the bus is in-process
 * `BENCH_DATABASE_URL`  a PostgreSQL; without it `BENCH_SQLITE_FILE`, or a new SQLite file
 * `BENCH_WORKERS`       processes (needs the broker)
 */
export function configFromBenchEnvironment(port = 0): Config {
  const { env } = process;
  env.BENCH_SQLITE_FILE ??= join(mkdtempSync(join(tmpdir(), 'lightcone-bench-')), 'bench.sqlite');
  env.GALAXY_CONFIG_OVERRIDE_ENABLE_SSE_UPDATES = 'true';
  env.GALAXY_CONFIG_OVERRIDE_DATABASE_CONNECTION =
    env.BENCH_DATABASE_URL ?? `sqlite:///${env.BENCH_SQLITE_FILE}`;
  if (env.BENCH_AMQP_URL) env.GALAXY_CONFIG_OVERRIDE_AMQP_INTERNAL_CONNECTION = env.BENCH_AMQP_URL;
  env.LIGHTCONE_LISTEN = `127.0.0.1:${port}`;
  env.LIGHTCONE_WORKERS = env.BENCH_WORKERS ?? '1';
  env.LIGHTCONE_MAX_CONNECTIONS = '1000000';
  env.LIGHTCONE_MAX_CONNECTIONS_PER_USER = '1000000';
  env.LIGHTCONE_LOG_LEVEL ??= 'error';
  return loadConfig({ env, flags: { config: undefined, sse: {} }, cwd: process.cwd() });
}
