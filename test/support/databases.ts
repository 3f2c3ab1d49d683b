/** Both databases behind one form, for the contract suites. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import type { Database, HintListener, HintSource, LeaderLock } from '../../src/database/port.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { migrate } from '../../src/database/schema.js';
import { SqliteDatabase } from '../../src/database/sqlite/database.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger, type Logger } from '../../src/telemetry/logger.js';
import { dataFolder } from './data-folder.js';
import { createTestDatabase } from './postgres.js';

export { eventually } from './eventually.js';

export type AnyDatabase = Database & {
  createHintSource(listener: HintListener): HintSource;
  createLeaderLock(name: string, label: string, silenceMs?: number): LeaderLock;
};

export interface DatabaseFixture {
  kind: 'postgresql' | 'sqlite';
  /** Another process's view of the same database; closed by `close`. */
  open(logger?: Logger): AnyDatabase;
  /** Runs statements as a foreign program does, outside Lightcone. @returns the rows of the last one */
  foreign<Row = Record<string, unknown>>(sql: string): Promise<Row[]>;
  close(): Promise<void>;
}

export const silent: Logger = createLogger('silent');

export const FIXTURES: [DatabaseFixture['kind'], () => Promise<DatabaseFixture>][] = [
  ['postgresql', postgresFixture],
  ['sqlite', sqliteFixture],
];

export async function openMigrated(fixture: DatabaseFixture): Promise<AnyDatabase> {
  const db = fixture.open();
  await db.start();
  await migrate(db, silent);
  return db;
}

export async function postgresFixture(): Promise<DatabaseFixture> {
  const database = await createTestDatabase();
  return collect({
    kind: 'postgresql',
    open: (logger = silent) =>
      new PostgresDatabase({ url: database.url, poolSize: 4, logger, clock: systemClock }),
    foreign: database.psql,
    close: database.drop,
  });
}

export async function sqliteFixture(): Promise<DatabaseFixture> {
  const folder = dataFolder('lightcone-sqlite-');
  const file = join(folder, 'data', 'lightcone.sqlite');
  return collect({
    kind: 'sqlite',
    open: (logger = silent) => new SqliteDatabase({ file, logger }),
    foreign: async <Row>(sql: string) => {
      const db = new BetterSqlite(file);
      try {
        db.pragma('foreign_keys = ON');
        if (!/^\s*SELECT/i.test(sql)) {
          db.exec(sql);
          return [];
        }
        return db.prepare(sql).all() as Row[];
      } finally {
        db.close();
      }
    },
    close: () => rm(folder, { recursive: true, force: true }),
  });
}

/** Stops everything that was opened before the database itself goes. */
function collect(fixture: DatabaseFixture): DatabaseFixture {
  const opened: AnyDatabase[] = [];
  return {
    ...fixture,
    open: (logger) => {
      const db = fixture.open(logger);
      opened.push(db);
      return db;
    },
    close: async () => {
      await Promise.all(opened.map((db) => db.stop()));
      await fixture.close();
    },
  };
}
