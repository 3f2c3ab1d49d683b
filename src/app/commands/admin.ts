/** Composition of the commands that do one thing and end. */
import type { Config } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';
import { addUser } from '../../database/demo.js';
import type { Database } from '../../database/port.js';
import { migrate } from '../../database/schema.js';
import { systemClock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import { startSoon } from '../processes/start-soon.js';
import { createDatabase, type RuntimeContext } from '../wiring/infrastructure.js';

export interface AdminOptions {
  logger: Logger;
  /** One line on standard output. */
  print: (line: string) => void;
}

/** @throws LightconeError CONFIG_INVALID beside a Galaxy, whose tables are its own */
export async function migrateDatabase(config: Config, { logger, print }: AdminOptions): Promise<void> {
  refuseAttached(config, 'migrate', "Galaxy makes its own tables; run Galaxy's manage_db.sh upgrade");
  await withDatabase(config, logger, async (db) => {
    const applied = await migrate(db, logger);
    print(
      applied.length === 0
        ? `${config.database.display} is up to date`
        : `${config.database.display}: applied ${applied.join(', ')}`,
    );
  });
}

export async function addAccount(
  config: Config,
  { email, admin }: { email: string; admin: boolean },
  { logger, print }: AdminOptions,
): Promise<void> {
  refuseAttached(config, 'user add', 'users are made in Galaxy');
  await withDatabase(config, logger, async (db) => {
    await migrate(db, logger);
    const apiKey = await addUser(db, email, { admin });
    print(`${admin ? 'administrator' : 'user'} ${email.trim().toLowerCase()} added, API key: ${apiKey}`);
  });
}

export const runtime = (logger: Logger): RuntimeContext => ({
  logger,
  clock: systemClock,
  random: Math.random,
});

export function refuseAttached(config: Config, command: string, instead: string): void {
  if (config.sse.attachToGalaxy) {
    throw new LightconeError(
      'CONFIG_INVALID',
      `${command}: is refused beside a Galaxy (attach_to_galaxy); ${instead}`,
    );
  }
}

export async function withDatabase(
  config: Config,
  logger: Logger,
  work: (db: Database) => Promise<void>,
): Promise<void> {
  const db = await createDatabase(config.database, runtime(logger));
  await startSoon(db, 'DATABASE_UNAVAILABLE');
  try {
    await work(db);
  } finally {
    await db.stop();
  }
}
