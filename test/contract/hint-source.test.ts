import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { secondsToMicros } from '../../src/core/time.js';
import { type DemoData, seedDemo } from '../../src/database/demo.js';
import { hasNotifyTriggers, PollSource } from '../../src/database/poll-source.js';
import type { HintListener, HintSource, Sql, SqlValue } from '../../src/database/port.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { ListenSource } from '../../src/database/postgres/listen-source.js';
import { migrate } from '../../src/database/schema.js';
import { SqliteConnection } from '../../src/database/sqlite/connection.js';
import { DataVersionSource } from '../../src/database/sqlite/data-version-source.js';
import { SqliteDatabase } from '../../src/database/sqlite/database.js';
import type { Logger } from '../../src/telemetry/logger.js';
import {
  type AnyDatabase,
  type DatabaseFixture,
  eventually,
  FIXTURES,
  openMigrated,
  postgresFixture,
  silent,
} from '../support/databases.js';
import { createTestDatabase } from '../support/postgres.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** What a source told, in order. */
class Recorder implements HintListener {
  readonly batches: number[][] = [];
  readonly gaps: string[] = [];
  onHistories(ids: readonly number[]): void {
    this.batches.push([...ids]);
  }
  onGap(cause: string): void {
    this.gaps.push(cause);
  }
  get ids(): number[] {
    return this.batches.flat();
  }
}

describe.each(FIXTURES)('the hint source of %s', (_kind, makeFixture) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let demo: DemoData;
  let heard: Recorder;
  let source: HintSource;
  beforeEach(async () => {
    fixture = await makeFixture();
    db = await openMigrated(fixture);
    demo = (await seedDemo(db))!;
    heard = new Recorder();
    source = db.createHintSource(heard);
    await source.start();
    return async () => {
      await source.stop();
      await fixture.close();
    };
  });
  const touch = (id: number) => fixture.foreign(`UPDATE history SET name = 'x' WHERE id = ${id}`);

  it('tells of a change that another program makes, within 0.2 s', async () => {
    const id = demo.users[0]!.historyId;
    const before = performance.now();
    await touch(id);
    await eventually(() => heard.ids.includes(id));
    expect(performance.now() - before).toBeLessThan(200);
    expect(heard.gaps).toEqual([]);
  });

  it('tells of several histories in one statement together', async () => {
    await fixture.foreign("UPDATE history SET name = 'all'");
    await eventually(() => heard.ids.length === 4);
    expect(heard.batches).toHaveLength(1);
  });

  it('tells of nothing when a transaction is rolled back', async () => {
    await db
      .transaction(async (tx) => {
        await tx.run("UPDATE history SET name = 'undone'");
        throw new Error('undo');
      })
      .catch(() => {});
    await source.barrier();
    expect(heard.ids).toEqual([]);
  });

  it('has told of everything committed before the moment that a barrier resolves with', async () => {
    for (let round = 0; round < 20; round += 1) {
      const { historyId } = demo.users[round % 3]!;
      const before = heard.ids.length;
      await touch(historyId);
      const committed = await db.now();
      await new Promise((resolve) => setTimeout(resolve, 2));
      const moment = await source.barrier();
      expect(heard.ids.slice(before)).toContain(historyId);
      expect(moment).toBeGreaterThanOrEqual(committed);
      expect(moment).toBeLessThanOrEqual(await db.now());
    }
  });

  it('may be started and stopped twice, and answers no barrier once stopped', async () => {
    await Promise.all([source.start(), source.start()]);
    await Promise.all([source.stop(), source.stop()]);
    await expect(source.barrier()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await touch(demo.users[0]!.historyId);
    await source.start();
    await source.barrier();
    await touch(demo.users[1]!.historyId);
    await eventually(() => heard.ids.includes(demo.users[1]!.historyId));
  });
});

describe('LISTEN on PostgreSQL', () => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let demo: DemoData;
  let heard: Recorder;
  let source: HintSource;
  beforeEach(async () => {
    fixture = await postgresFixture();
    db = await openMigrated(fixture);
    demo = (await seedDemo(db))!;
    heard = new Recorder();
    source = db.createHintSource(heard);
    await source.start();
    return async () => {
      await source.stop();
      await fixture.close();
    };
  });

  it('sends one notification per history and transaction, at the commit', async () => {
    const { historyId } = demo.users[0]!;
    await fixture.foreign(`BEGIN;
      INSERT INTO history_dataset_association (history_id, validated_state) VALUES (${historyId}, 'u'), (${historyId}, 'u');
      UPDATE history_dataset_association SET name = 'n';
      COMMIT`);
    await source.barrier();
    expect(heard.batches).toEqual([[historyId]]);
    expect(await fixture.foreign(`SELECT 1 FROM history_audit WHERE history_id = ${historyId}`)).toHaveLength(
      5,
    );
  });

  it('ignores payloads that are no history ids', async () => {
    await fixture.foreign(
      "SELECT pg_notify('galaxy_history_update', p) FROM unnest(ARRAY['', 'x', '-1', '0', '1e3', '1;2', '7']) p",
    );
    await source.barrier();
    expect(heard.ids).toEqual([7]);
  });

  it('connects again when its session is ended, and says that hints may be missing', async () => {
    const before = performance.now();
    await fixture.foreign(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lightcone listen' AND datname = current_database()",
    );
    await eventually(() => heard.gaps.length > 0);
    expect(performance.now() - before).toBeLessThan(2_000);
    expect(heard.gaps).toEqual(['listen_reconnected']);
    const { historyId } = demo.users[0]!;
    await fixture.foreign(`UPDATE history SET name = 'later' WHERE id = ${historyId}`);
    await eventually(() => heard.ids.includes(historyId));
    await source.barrier();
  });

  it('finds polling necessary where the triggers do not notify', async () => {
    expect(await hasNotifyTriggers(db)).toBe(true);
    await fixture.foreign(`
      CREATE OR REPLACE FUNCTION fn_audit_history_by_id() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE OR REPLACE FUNCTION fn_audit_history_by_history_id() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`);
    expect(await hasNotifyTriggers(db)).toBe(false);
  });

  it('polls by asking for a look at every interval', async () => {
    const poll = new PollSource(db, heard, 10);
    await poll.start();
    await eventually(() => heard.gaps.length >= 2);
    expect(Math.abs((await poll.barrier()) - (await db.now()))).toBeLessThan(secondsToMicros(1));
    await poll.stop();
    const count = heard.gaps.length;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(heard.gaps).toHaveLength(count);
  });
});

describe('a barrier of LISTEN', () => {
  it('hands over what arrives in the same packet before it resolves', async () => {
    const database = await createTestDatabase();
    const db = new PostgresDatabase({ url: database.url, poolSize: 2, logger: silent, clock: systemClock });
    await db.start();
    await migrate(db, silent);
    const demo = (await seedDemo(db))!;
    const { historyId } = demo.users[0]!;
    const heard = new Recorder();
    // Change and barrier in one commit: their notifications cannot come apart.
    const sql = Object.create(db, {
      all: {
        value: (text: string, params: SqlValue[]) =>
          db.transaction(async (tx) => {
            await tx.run('UPDATE history SET name = $1 WHERE id = $2', ['x', historyId]);
            return tx.all(text, params);
          }),
      },
    }) as Sql;
    const source = new ListenSource({ url: database.url, sql, listener: heard, logger: silent });
    await source.start();
    await source.barrier();
    expect(heard.ids).toEqual([historyId]);
    await source.stop();
    await db.stop();
    await database.drop();
  });
});

describe('LISTEN over a connection that goes silent', () => {
  it('is found by a barrier within 5 s and replaced', async () => {
    const database = await createTestDatabase();
    const proxy = await TcpProxy.to(database.url);
    const options = { poolSize: 2, logger: silent, clock: systemClock };
    // Only LISTEN goes through the proxy: the pool must not be what finds it.
    const direct = new PostgresDatabase({ ...options, url: database.url });
    await direct.start();
    await migrate(direct, silent);
    const heard = new Recorder();
    const source = new ListenSource({
      url: proxy.through(database.url),
      sql: direct,
      listener: heard,
      logger: silent,
    });
    try {
      await source.start();
      await source.barrier();
      proxy.goSilent();
      const before = performance.now();
      await expect(source.barrier()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      expect(performance.now() - before).toBeLessThan(5_000);
      await expect(source.barrier()).rejects.toThrow(/LISTEN connection/);
      proxy.resume();
      await eventually(() => heard.gaps.includes('listen_reconnected'), { within: 8_000 });
      await source.barrier();
    } finally {
      await source.stop();
      await direct.stop();
      await proxy.close();
      await database.drop();
    }
  });
});

describe('the look at data_version on SQLite', () => {
  /** A source whose system tells of writes only when the test says so. */
  async function withTold(
    work: (given: {
      told: { write(): void };
      heard: Recorder;
      commit(name: string): Promise<unknown>;
      logged: ReturnType<typeof vi.fn>;
      looks: ReturnType<typeof vi.fn>;
    }) => Promise<void>,
  ): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'lightcone-sqlite-'));
    const file = join(folder, 'lightcone.sqlite');
    const db = new SqliteDatabase({ file, logger: silent });
    await db.start();
    await migrate(db, silent);
    const demo = (await seedDemo(db))!;
    const [logged, looks] = [vi.fn(), vi.fn()];
    const prepare = SqliteConnection.prototype.prepare;
    const spy = vi.spyOn(SqliteConnection.prototype, 'prepare').mockImplementation(function (
      this: SqliteConnection,
      text,
    ) {
      const statement = prepare.call(this, text);
      if (!text.includes('data_version')) return statement;
      const get = statement.get.bind(statement);
      statement.get = () => {
        looks();
        return get();
      };
      return statement;
    });
    const heard = new Recorder();
    const told = { write: (): void => {} };
    const source = new DataVersionSource({
      file,
      listener: heard,
      logger: { info: logged } as unknown as Logger,
      watch: (_file, onWrite) => {
        told.write = onWrite;
        return { close() {} };
      },
    });
    try {
      await source.start();
      const commit = (name: string) =>
        db.run('UPDATE history SET name = $1 WHERE id = $2', [name, demo.users[0]!.historyId]);
      await work({ told, heard, commit, logged, looks });
    } finally {
      spy.mockRestore();
      await source.stop();
      await db.stop();
      await rm(folder, { recursive: true, force: true });
    }
  }
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  it('rests while nobody writes', () =>
    withTold(async ({ looks }) => {
      await pause(20);
      const before = looks.mock.calls.length;
      await pause(500);
      expect(looks.mock.calls.length - before).toBeLessThanOrEqual(1);
    }));

  it('is repeated after a write, for its commit can be seen only later', () =>
    withTold(async ({ told, heard, commit, logged }) => {
      for (let round = 1; round <= 5; round += 1) {
        told.write();
        expect(heard.batches).toHaveLength(round - 1);
        await pause(30);
        await commit(`round ${round}`);
        await eventually(() => heard.batches.length === round, { within: 500 });
      }
      await pause(150);
      expect(logged).not.toHaveBeenCalled();
    }));

  it('comes at short intervals where a commit was not announced', () =>
    withTold(async ({ heard, commit, logged }) => {
      await commit('found by the look that comes anyway');
      await eventually(() => heard.batches.length === 1);
      await eventually(() => logged.mock.calls.length === 1);
      for (let round = 2; round <= 5; round += 1) {
        await commit(`round ${round}`);
        await eventually(() => heard.batches.length === round, { within: 500 });
      }
      expect(logged).toHaveBeenCalledTimes(1);
    }));

  it('comes at short intervals where the system cannot tell of writes', async () => {
    const fixture = await FIXTURES[1]![1]();
    const db = await openMigrated(fixture);
    const logged = vi.fn();
    const [file] = await db.all<{ file: string }>('PRAGMA database_list');
    const source = new DataVersionSource({
      file: file!.file,
      listener: new Recorder(),
      logger: { info: logged } as unknown as Logger,
      watch: () => {
        throw new Error('no more watches');
      },
    });
    try {
      await source.start();
      expect(logged).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({ reason: 'no more watches' }),
        expect.stringContaining('looking every 50 ms'),
      );
    } finally {
      await source.stop();
      await fixture.close();
    }
  });

  it('asks for a look at everything when rows were pruned or renumbered', async () => {
    const fixture = await FIXTURES[1]![1]();
    const db = await openMigrated(fixture);
    const demo = (await seedDemo(db))!;
    const heard = new Recorder();
    const source = db.createHintSource(heard);
    await source.start();
    try {
      // The last row goes and its rowid is given to another: nothing but its content tells them apart.
      await fixture.foreign(`
        DELETE FROM history_audit WHERE rowid = (SELECT max(rowid) FROM history_audit);
        UPDATE history SET name = 'x' WHERE id = ${demo.users[0]!.historyId}`);
      await eventually(() => heard.gaps.length > 0);
      await fixture.foreign(`UPDATE history SET name = 'y' WHERE id = ${demo.users[1]!.historyId}`);
      await eventually(() => heard.ids.includes(demo.users[1]!.historyId));
      expect(heard.gaps).toHaveLength(1);
    } finally {
      await source.stop();
      await fixture.close();
    }
  });
});
