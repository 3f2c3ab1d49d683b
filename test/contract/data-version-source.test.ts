import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { seedDemo } from '../../src/database/demo.js';
import { migrate } from '../../src/database/schema.js';
import { SqliteConnection } from '../../src/database/sqlite/connection.js';
import { DataVersionSource } from '../../src/database/sqlite/data-version-source.js';
import { SqliteDatabase } from '../../src/database/sqlite/database.js';
import type { Logger } from '../../src/telemetry/logger.js';
import { dataFolder } from '../support/data-folder.js';
import { eventually, openMigrated, silent, sqliteFixture } from '../support/databases.js';
import { HintRecorder } from '../support/hint-recorder.js';

describe('the look at data_version on SQLite', () => {
  /** A source whose system tells of writes only when the test says so. */
  async function withTold(
    work: (given: {
      told: { write(): void };
      heard: HintRecorder;
      commit(name: string): Promise<unknown>;
      logged: ReturnType<typeof vi.fn>;
      looks: ReturnType<typeof vi.fn>;
    }) => Promise<void>,
  ): Promise<void> {
    const folder = dataFolder('lightcone-sqlite-');
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
    const heard = new HintRecorder();
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

  it('comes at short intervals where a commit had no write notification', () =>
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
    const fixture = await sqliteFixture();
    const db = await openMigrated(fixture);
    const logged = vi.fn();
    const [file] = await db.all<{ file: string }>('PRAGMA database_list');
    const source = new DataVersionSource({
      file: file!.file,
      listener: new HintRecorder(),
      logger: { info: logged } as unknown as Logger,
      watch: () => {
        throw new Error('no more watches');
      },
    });
    try {
      await source.start();
      expect(logged).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({ reason: 'no more watches' }),
        expect.stringContaining('polling every 50 ms'),
      );
    } finally {
      await source.stop();
      await fixture.close();
    }
  });

  it('tells of a change after the newest rows were pruned: no number is given twice', async () => {
    const fixture = await sqliteFixture();
    const db = await openMigrated(fixture);
    const demo = (await seedDemo(db))!;
    const heard = new HintRecorder();
    const source = db.createHintSource(heard);
    await source.start();
    try {
      await fixture.foreign(`
        DELETE FROM history_audit;
        UPDATE history SET name = 'x' WHERE id = ${demo.users[0]!.historyId}`);
      await eventually(() => heard.ids.includes(demo.users[0]!.historyId));
      expect(heard.gaps).toEqual([]);
    } finally {
      await source.stop();
      await fixture.close();
    }
  });
});
