/** Composition of the one-shot commands. */
import type { Config } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';
import { addUser } from '../../database/demo.js';
import type { Database } from '../../database/port.js';
import { restoreTriggers } from '../../database/restore-triggers.js';
import { hasTable, migrate } from '../../database/schema.js';
import { listUsers, removeUser, renewKey, revokeAccess } from '../../database/users.js';
import { systemClock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import { startSoon } from '../processes/start-soon.js';
import { createDatabase, type RuntimeContext } from '../wiring/infrastructure.js';

export interface AdminOptions {
  logger: Logger;
  /** Prints one line to standard output. */
  print: (line: string) => void;
}

/** @throws LightconeError CONFIG_INVALID beside a Galaxy, which owns its tables */
export async function migrateDatabase(config: Config, { logger, print }: AdminOptions): Promise<void> {
  refuseAttached(config, 'migrate', "Galaxy makes its own tables; run Galaxy's manage_db.sh upgrade");
  await withDatabase(config, logger, async (db) => {
    const applied = await migrate(db, logger);
    const restored = await restoreTriggers(db);
    const done = [
      applied.length > 0 && `applied ${applied.join(', ')}`,
      restored.length > 0 &&
        `created or enabled ${restored.join(', ')}; no event reports the changes made without them`,
    ].filter((what) => what !== false);
    const { display } = config.database;
    print(done.length === 0 ? `${display} is up to date` : `${display}: ${done.join('; ')}`);
  });
}

/**
 * Beside a Galaxy: makes its triggers NOTIFY only while our monitor does not poll, or always again.
 * @throws LightconeError DATABASE_SCHEMA for unknown triggers; it then changes nothing
 */
export async function changeTriggers(
  config: Config,
  wish: 'quiet' | 'noisy',
  { logger, print }: AdminOptions,
): Promise<void> {
  if (config.database.kind !== 'postgresql') {
    throw new LightconeError(
      'CONFIG_INVALID',
      `migrate --${wish}-triggers: needs the PostgreSQL of a Galaxy`,
    );
  }
  const { changeGalaxyTriggers } = await import('../../database/postgres/galaxy-triggers.js');
  await withDatabase(config, logger, async (db) => {
    if (await hasTable(db, 'lightcone_migration')) {
      throw new LightconeError(
        'CONFIG_INVALID',
        `migrate --${wish}-triggers: Lightcone made this database itself; its triggers are quiet`,
      );
    }
    const changed = await changeGalaxyTriggers(db, wish);
    print(
      changed.length === 0
        ? `${config.database.display}: the triggers were ${wish} before`
        : `${config.database.display}: ${changed.join(', ')} made ${wish}; restart sse-monitor`,
    );
  });
}

export async function addAccount(
  config: Config,
  { email, admin }: { email: string; admin: boolean },
  { logger, print }: AdminOptions,
): Promise<void> {
  refuseAttached(config, 'user add', 'create users in Galaxy');
  await withDatabase(config, logger, async (db) => {
    await migrate(db, logger);
    const apiKey = await addUser(db, email, { admin });
    print(`${admin ? 'administrator' : 'user'} ${email.trim().toLowerCase()} added, API key: ${apiKey}`);
  });
}

/** Prints a line per user, without keys. */
export async function listAccounts(config: Config, { logger, print }: AdminOptions): Promise<void> {
  refuseAttached(config, 'user list', 'see the users in Galaxy');
  await withDatabase(config, logger, async (db) => {
    await migrate(db, logger);
    const users = await listUsers(db);
    if (users.length === 0) print('there is no user; "lightcone user add EMAIL" adds one');
    const width = Math.max(0, ...users.map(({ email }) => email.length));
    for (const { email, isAdmin, keySince } of users) {
      const role = isAdmin || config.auth.adminUsers.includes(email.toLowerCase()) ? 'administrator' : 'user';
      print(
        `${email.padEnd(width)}  ${role.padEnd(13)}  ${keySince ? `key of ${keySince.slice(0, 10)}` : 'no key'}`,
      );
    }
  });
}

/** Actions on one user, with their messages. */
const ACTIONS = {
  key: async (db: Database, email: string) =>
    `new API key of ${email}, which replaces all earlier ones: ${await renewKey(db, email)}`,
  revoke: async (db: Database, email: string) => {
    await revokeAccess(db, email);
    return `all keys and sessions of ${email} are revoked; open streams end within a minute`;
  },
  remove: async (db: Database, email: string) => {
    await removeUser(db, email);
    return `user ${email} removed; open streams end within a minute ("lightcone user add" restores the user)`;
  },
};
export type UserAction = keyof typeof ACTIONS;

/** @throws LightconeError NOT_FOUND; it then changes nothing */
export async function changeAccount(
  config: Config,
  action: UserAction,
  email: string,
  { logger, print }: AdminOptions,
): Promise<void> {
  refuseAttached(config, `user ${action}`, 'manage users in Galaxy');
  await withDatabase(config, logger, async (db) => {
    await migrate(db, logger);
    print(await ACTIONS[action](db, email.trim().toLowerCase()));
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
      `${command}: not available beside a Galaxy (attach_to_galaxy); ${instead}`,
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
