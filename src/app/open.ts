/** Makes database and bus from the settings. The driver that is not used is not loaded. */
import type { Bus } from '../bus/port.js';
import type { Config } from '../config/config.js';
import { systemClock } from '../core/clock.js';
import { LightconeError } from '../core/errors.js';
import type { Lifecycle } from '../core/lifecycle.js';
import type { Database, HintListener, HintSource, LeaderLock } from '../database/port.js';
import type { Logger } from '../telemetry/logger.js';
import { type Metrics, noMetrics } from '../telemetry/metrics.js';

/** The adapters' factories beside the port: each database has its own hints and its own lock. */
export interface OpenDatabase extends Database {
  createHintSource(listener: HintListener): HintSource;
  createLeaderLock(name: string, label: string): LeaderLock;
}

export async function createDatabase(config: Config, logger: Logger): Promise<OpenDatabase> {
  const own = logger.child({ component: 'database' });
  if (config.database.kind === 'sqlite') {
    const { SqliteDatabase } = await import('../database/sqlite/database.js');
    return new SqliteDatabase({ file: config.database.file, logger: own });
  }
  const { PostgresDatabase } = await import('../database/postgres/database.js');
  const { url, poolSize } = config.database;
  return new PostgresDatabase({ url, poolSize, logger: own, clock: systemClock });
}

/** @param serverName this process's own, with worker number */
export async function createBus(
  config: Config,
  serverName: string,
  logger: Logger,
  metrics: Metrics = noMetrics,
): Promise<Bus> {
  const own = { logger: logger.child({ component: 'bus' }), metrics, clock: systemClock };
  if (config.bus.kind === 'in-process') {
    const { InProcessBus } = await import('../bus/in-process.js');
    return new InProcessBus(own);
  }
  const { AmqpBus } = await import('../bus/amqp.js');
  return new AmqpBus({ ...own, url: config.bus.url, serverName, random: Math.random });
}

/** How long a command that ends waits for a neighbour; a service waits for ever. */
const PATIENCE_MS = 10_000;

/** @throws LightconeError `code`, with what `part` says is wrong, when it has not started in time */
export async function startSoon(
  part: Lifecycle & { problem(): string | undefined },
  code: 'DATABASE_UNAVAILABLE' | 'BUS_UNAVAILABLE',
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const abort = new AbortController();
  const timer = setTimeout(
    () => abort.abort(new LightconeError(code, part.problem() ?? 'no answer')),
    patienceMs,
  );
  try {
    await part.start(abort.signal);
  } finally {
    clearTimeout(timer);
  }
}
