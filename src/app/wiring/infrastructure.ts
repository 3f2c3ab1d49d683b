/**
 * Chooses the classes behind the ports; only this folder knows them. Drivers are loaded when they are chosen: those of
 * PostgreSQL, RabbitMQ and statsd take 35 MB and a sixth of a second of the start.
 */
import { hostname } from 'node:os';
import { InProcessBus } from '../../bus/in-process/bus.js';
import type { Bus } from '../../bus/port.js';
import type { Config, DatabaseConfig } from '../../config/config.js';
import type { ProcessNotice } from '../../core/notices.js';
import { hasNotifyTriggers, PollSource } from '../../database/poll-source.js';
import type { Database, HintListener, HintSource, LeaderLock } from '../../database/port.js';
import { checkSchema, hiddenRows, migrate } from '../../database/schema.js';
import type { Clock } from '../../lib/clock.js';
import { CountingMetrics } from '../../telemetry/counting-metrics.js';
import type { Logger } from '../../telemetry/logger.js';
import { noMetrics } from '../../telemetry/metrics.js';
import { VERSION } from '../version.js';

/** The context of a process, passed in so that two whole apps fit in one test process. */
export interface RuntimeContext {
  logger: Logger;
  clock: Clock;
  /** A random number from 0 to 1. */
  random: () => number;
}

/** Heartbeats and barriers wait neither for a long read nor for callers. */
export const MONITOR_CONNECTIONS = 2;

/** A database with the two objects that only it can create. */
export type WatchedDatabase = Database & {
  createHintSource(listener: HintListener): HintSource;
  createLeaderLock(name: string, label: string, silenceMs?: number): LeaderLock;
};

export async function createDatabase(
  config: DatabaseConfig,
  { logger, clock }: RuntimeContext,
): Promise<WatchedDatabase> {
  const child = logger.child({ component: 'database' });
  if (config.kind === 'postgresql') {
    const { PostgresDatabase } = await import('../../database/postgres/database.js');
    return new PostgresDatabase({ url: config.url, poolSize: config.poolSize, logger: child, clock });
  }
  const { SqliteDatabase } = await import('../../database/sqlite/database.js');
  return new SqliteDatabase({ file: config.file, logger: child });
}

export async function createBus(
  config: Config,
  serverName: string,
  metrics: CountingMetrics,
  { logger, clock, random }: RuntimeContext,
): Promise<Bus> {
  const child = logger.child({ component: 'bus' });
  if (config.bus.kind === 'in-process') return new InProcessBus({ logger: child, metrics, clock });
  const { AmqpBus } = await import('../../bus/amqp/bus.js');
  const { idSecret: secret } = config.auth;
  return new AmqpBus({ url: config.bus.url, serverName, secret, logger: child, metrics, clock, random });
}

/** Every process keeps totals, and forwards them to statsd if that is configured. */
export async function createMetrics(
  config: Config,
  { logger, clock, random }: RuntimeContext,
): Promise<{ metrics: CountingMetrics; close: () => Promise<void> }> {
  if (config.statsd === undefined) return { metrics: new CountingMetrics(noMetrics), close: async () => {} };
  const { StatsdMetrics } = await import('../../telemetry/statsd.js');
  const statsd = new StatsdMetrics(config.statsd, logger.child({ component: 'statsd' }), clock, random);
  return { metrics: new CountingMetrics(statsd), close: () => statsd.close() };
}

/** Migrates our own tables, or checks Galaxy's. */
export async function prepareSchema(
  database: Database,
  attachToGalaxy: boolean,
  logger: Logger,
): Promise<void> {
  if (attachToGalaxy) await checkSchema(database);
  else await migrate(database, logger);
  const hidden = await hiddenRows(database);
  if (hidden !== undefined) logger.warn({}, hidden);
}

/** If the triggers of a PostgreSQL do not NOTIFY (a Galaxy before 26.1), the audit table is polled. */
export async function chooseHintSource(
  database: WatchedDatabase,
  pollIntervalSeconds: number,
  logger: Logger,
): Promise<(listener: HintListener) => HintSource> {
  if (database.dialect === 'postgresql' && !(await hasNotifyTriggers(database))) {
    logger.warn(
      { pollIntervalSeconds },
      'the history triggers of this database do not NOTIFY (schema before 26.1): the audit table is polled every history_audit_monitor_poll_interval',
    );
    return (listener) => new PollSource(database, listener, pollIntervalSeconds * 1000);
  }
  return (listener) => database.createHintSource(listener);
}

export const thisHost = (): string => hostname();

/** The constant part of a process's notices. */
export const identityOf = (config: Config, name: string, role: ProcessNotice['role']) => ({
  name,
  host: thisHost(),
  pid: process.pid,
  role,
  version: VERSION,
  database: config.database.kind,
  bus: config.bus.kind,
});
