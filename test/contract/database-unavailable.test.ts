import { writeFile } from 'node:fs/promises';
import BetterSqlite from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDatabaseUrl } from '../../src/config/urls.js';
import { LightconeError } from '../../src/core/errors.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { maskUrl } from '../../src/database/postgres/options.js';
import { SqliteDatabase } from '../../src/database/sqlite/database.js';
import { openProblem } from '../../src/database/sqlite/open-problem.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { eventually, openMigrated, silent, sqliteFixture } from '../support/databases.js';
import { createTestDatabase, type Postgres, startPostgres } from '../support/postgres.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** As the settings hand it to the database: with nothing left open. */
function complete(url: string): string {
  const { address } = parseDatabaseUrl(url, '/');
  return address.kind === 'postgresql' ? address.url : url;
}

/** A logger whose lines can be read. */
function recorded() {
  const lines: string[] = [];
  return { lines, logger: createLogger('info', {}, { write: (line: string) => void lines.push(line) }) };
}

describe('a PostgreSQL that is not there', () => {
  let server: Postgres;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await server.stop();
  });
  const connect = (url: string, logger = silent) =>
    new PostgresDatabase({ url, poolSize: 2, logger, clock: systemClock });

  it('is waited for, says so once without the password, and is used as soon as it comes', async () => {
    await server.halt();
    const { lines, logger } = recorded();
    const db = connect(server.url.replace('lightcone@', 'lightcone:s3cret@'), logger);
    const starting = db.start();
    await eventually(() => lines.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/waiting for the database/);
    expect(lines[0]).toMatch(/lightcone:\*\*\*@127\.0\.0\.1/);
    expect(lines[0]).toMatch(/ECONNREFUSED/);
    expect(db.problem()).toMatch(/ECONNREFUSED/);
    await server.resume();
    await starting;
    expect(db.problem()).toBeUndefined();
    expect(lines.join('')).not.toContain('s3cret');
    await db.stop();
  });

  it.each(['fast', 'immediate'] as const)('is used again after a restart (%s)', async (mode) => {
    const db = connect(server.url);
    await db.start();
    await server.halt(mode);
    await expect(db.now()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(db.problem()).toBeDefined();
    await server.resume();
    await eventually(() => db.now().catch(() => undefined), { within: 2_000 });
    expect(db.problem()).toBeUndefined();
    await db.stop();
  });

  it('its log says once that it is away and once that it is back', async () => {
    const { lines, logger } = recorded();
    const db = connect(server.url, logger);
    await db.start();
    await server.halt('fast');
    for (let i = 0; i < 3; i += 1) await db.now().catch(() => {});
    await server.resume();
    await eventually(() => db.now().catch(() => undefined), { within: 2_000 });
    await db.now();
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
      'database connected',
      'database unreachable: retrying until it is back',
      'database is back',
    ]);
    await db.stop();
  });

  it('gives up waiting when the start is aborted or stopped, and leaves nothing behind', async () => {
    const unreachable = 'postgresql://nobody@127.0.0.1:1/none';
    const aborted = connect(unreachable);
    await expect(aborted.start(AbortSignal.timeout(50))).rejects.toThrow();
    const stopped = connect(unreachable);
    const starting = stopped.start();
    starting.catch(() => {});
    await Promise.all([stopped.stop(), stopped.stop()]);
    await expect(starting).rejects.toThrow();
    await expect(stopped.now()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });

  it('names a database that does not exist and says what to do', async () => {
    const { lines, logger } = recorded();
    const db = connect(server.url.replace('/postgres', '/nowhere'), logger);
    const starting = db.start();
    await eventually(() => lines.length > 0);
    expect(lines[0]).toMatch(/database \\"nowhere\\" does not exist \(create it, or correct the name/);
    starting.catch(() => {});
    await db.stop();
  });

  it('is reached over its unix socket', async () => {
    const db = connect(
      complete(`postgresql:///postgres?host=${server.socketFolder}&port=${server.port}&user=lightcone`),
    );
    await db.start(AbortSignal.timeout(5_000));
    expect(await db.all('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await db.stop();
  });

  it('keeps the process alive when a transaction loses its connection', async () => {
    const database = await createTestDatabase(server);
    const proxy = await TcpProxy.to(database.url);
    const db = connect(proxy.through(database.url));
    await db.start();
    await expect(
      db.transaction(async (tx) => {
        await tx.run('CREATE TABLE lost (id integer)');
        proxy.cut();
        await tx.run('INSERT INTO lost VALUES (1)');
      }),
    ).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await eventually(() => db.now().catch(() => undefined));
    await expect(db.all('SELECT * FROM lost')).rejects.toMatchObject({ code: 'DATABASE_SCHEMA' });
    await db.stop();
    await proxy.close();
    await database.drop();
  });

  it.each([
    ['postgresql://u:pa:s%40s@h/db', 'postgresql://u:***@h:5432/db'],
    ['postgresql://u@h/db', 'postgresql://u@h:5432/db'],
    ['postgresql:///db?host=/run&password=x&user=u', 'postgresql://u:***@/run:5432/db'],
  ])('shows %s without its password', (url, shown) => {
    expect(maskUrl(complete(url))).toBe(shown);
  });
});

describe('an SQLite file', () => {
  it('that another process has locked is waited for, and meanwhile everything else goes on', async () => {
    const fixture = await sqliteFixture();
    const db = await openMigrated(fixture);
    const [{ file }] = (await db.all<{ file: string }>('PRAGMA database_list')) as [{ file: string }];
    const other = new BetterSqlite(file);
    other.exec('BEGIN IMMEDIATE');
    let longestStallMs = 0;
    let last = performance.now();
    const watch = setInterval(() => {
      longestStallMs = Math.max(longestStallMs, performance.now() - last);
      last = performance.now();
    }, 1);
    const writing = db.run("INSERT INTO galaxy_user (email, password, active) VALUES ('a@b', '!', true)");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await db.all('SELECT count(*) AS n FROM galaxy_user')).toEqual([{ n: 0 }]);
    other.exec('COMMIT');
    other.close();
    expect(await writing).toBe(1);
    clearInterval(watch);
    expect(longestStallMs).toBeLessThan(100);
    await fixture.close();
  });

  it('that stays locked is reported after 10 s with what to do, and nothing was written', async () => {
    const fixture = await sqliteFixture();
    const db = await openMigrated(fixture);
    const [{ file }] = (await db.all<{ file: string }>('PRAGMA database_list')) as [{ file: string }];
    const other = new BetterSqlite(file);
    other.exec('BEGIN IMMEDIATE');
    await expect(db.transaction((tx) => tx.run('DELETE FROM history_audit'))).rejects.toThrow(
      /locked by another process for 10 s; find the program/,
    );
    expect(db.problem()).toMatch(/locked/);
    other.close();
    expect(await db.transaction((tx) => tx.run('DELETE FROM history_audit'))).toBe(0);
    expect(db.problem()).toBeUndefined();
    await fixture.close();
  });

  it('that is something else is refused with its name', async () => {
    const fixture = await sqliteFixture();
    const db = await openMigrated(fixture);
    const [{ file }] = (await db.all<{ file: string }>('PRAGMA database_list')) as [{ file: string }];
    await writeFile(`${file}.txt`, 'this is a letter, and a long one, not a database\n'.repeat(50));
    const wrong = new SqliteDatabase({ file: `${file}.txt`, logger: silent });
    await expect(wrong.start()).rejects.toThrow(
      /^database file \S+lightcone\.sqlite\.txt cannot be opened: file is not a database; set another file/,
    );
    expect(wrong.problem()).toMatch(/cannot be opened/);
    await wrong.stop();
    await fixture.close();
  });

  it('whose folder cannot be made, or whose disk is full, is refused once, with what to look at', () => {
    const failed = (code: string, message: string, syscall?: string) =>
      Object.assign(new Error(message), { code, syscall });
    expect(openProblem('/x/a.sqlite', failed('ENOENT', 'ENOENT: no such file, mkdir', 'mkdir'))).toBe(
      'database file /x/a.sqlite cannot be opened: its folder /x cannot be made; let this user write to the file and its folder, or name another one in database_connection',
    );
    const full = failed('SQLITE_IOERR_SHMSIZE', 'disk I/O error');
    const translated = new LightconeError('DATABASE_UNAVAILABLE', 'database file cannot be used', {
      cause: full,
    });
    expect(openProblem('/x/a.sqlite', translated)).toBe(
      'database file /x/a.sqlite cannot be opened: disk I/O error; check whether its disk is full or failing',
    );
  });
});
