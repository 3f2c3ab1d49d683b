import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { addUser, type DemoData, seedDemo } from '../../src/database/demo.js';
import { MIGRATIONS } from '../../src/database/migrations/index.js';
import { SqlNotificationLog } from '../../src/database/notification-log.js';
import { SqlPositionStore } from '../../src/database/position-store.js';
import { checkSchema, migrate } from '../../src/database/schema.js';
import { SqlWorkerProcesses } from '../../src/database/worker-processes.js';
import { formatSql, MICROS_PER_SECOND, parseSql } from '../../src/lib/time.js';
import {
  type AnyDatabase,
  type DatabaseFixture,
  FIXTURES,
  openMigrated,
  silent,
} from '../support/databases.js';

describe.each(FIXTURES)('the %s database', (kind, makeFixture) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let demo: DemoData;
  beforeAll(async () => {
    fixture = await makeFixture();
    db = await openMigrated(fixture);
    demo = (await seedDemo(db))!;
  });
  afterAll(async () => {
    await fixture.close();
  });

  const alice = () => demo.users[0]!;
  const bob = () => demo.users[1]!;
  const rowsOf = async (historyId: number) =>
    fixture.foreign<{ history_id: number; update_time: string }>(
      `SELECT history_id, update_time FROM history_audit WHERE history_id = ${historyId}`,
    );

  describe('statements', () => {
    it('binds text, numbers, booleans, null and bytes, and a parameter twice', async () => {
      const bytes = Buffer.from([0, 1, 255]);
      await db.run(
        `INSERT INTO notification (source, category, variant, dispatched, content, galaxy_url)
         VALUES ($1, $1, $2, $3, $4, $5)`,
        ["it's", 'info', true, bytes, null],
      );
      const [row] = await db.all('SELECT * FROM notification WHERE source = $1', ["it's"]);
      expect(row).toMatchObject({ source: "it's", category: "it's", variant: 'info', galaxy_url: null });
      expect(Buffer.compare(row!.content as Buffer, bytes)).toBe(0);
      expect(await db.run('DELETE FROM notification')).toBe(1);
    });

    it('finds rows by a list of numbers and by a list of texts with quotes in them', async () => {
      const byId = await db.all(`SELECT id FROM history WHERE ${db.isOneOf('id', 1)}`, [
        db.list([alice().historyId, bob().historyId, 999_999]),
      ]);
      expect(byId).toHaveLength(2);
      const byText = await db.all(`SELECT id FROM galaxy_user WHERE ${db.isOneOf('email', 1)}`, [
        db.list([`x"y\\z,{}`, 'alice@example.org']),
      ]);
      expect(byText).toEqual([{ id: alice().userId }]);
      expect(await db.all(`SELECT id FROM history WHERE ${db.isOneOf('id', 1)}`, [db.list([])])).toEqual([]);
    });

    it('gives timestamps as text and counts as numbers', async () => {
      const [row] = await db.all<{ create_time: string; n: number }>(
        'SELECT create_time, (SELECT count(*) FROM galaxy_user) AS n FROM history WHERE id = $1',
        [alice().historyId],
      );
      expect(parseSql(row!.create_time)).toBeGreaterThan(0);
      expect(row!.n).toBe(3);
    });

    it('tells the time in UTC, whatever zone the server is in', async () => {
      expect(Math.abs((await db.now()) / 1000 - Date.now())).toBeLessThan(2_000);
    });

    it('names what is missing when a table is not there', async () => {
      await expect(db.all('SELECT * FROM no_such_table')).rejects.toMatchObject({ code: 'DATABASE_SCHEMA' });
      expect(db.problem()).toBeUndefined();
    });
  });

  describe('transactions', () => {
    it('keep everything or nothing', async () => {
      const name = async () =>
        (await db.all<{ name: string }>('SELECT name FROM history WHERE id = $1', [bob().historyId]))[0]!
          .name;
      const before = await name();
      await expect(
        db.transaction(async (tx) => {
          await tx.run('UPDATE history SET name = $1 WHERE id = $2', ['half', bob().historyId]);
          throw new Error('changed my mind');
        }),
      ).rejects.toThrow('changed my mind');
      expect(await name()).toBe(before);
      await db.transaction((tx) =>
        tx.run('UPDATE history SET name = $1 WHERE id = $2', ['whole', bob().historyId]),
      );
      expect(await name()).toBe('whole');
    });

    it('see their own writes, and do not swallow a statement of somebody else that comes in between', async () => {
      let other: Promise<number> | undefined;
      await expect(
        db.transaction(async (tx) => {
          await tx.run('UPDATE history SET genome_build = $1 WHERE id = $2', ['mine', bob().historyId]);
          other = db.run('UPDATE history SET genome_build = $1 WHERE id = $2', ['other', alice().historyId]);
          const [row] = await tx.all<{ genome_build: string }>(
            'SELECT genome_build FROM history WHERE id = $1',
            [bob().historyId],
          );
          expect(row!.genome_build).toBe('mine');
          throw new Error('undo');
        }),
      ).rejects.toThrow('undo');
      expect(await other).toBe(1);
      const rows = await db.all<{ genome_build: string }>('SELECT genome_build FROM history WHERE id = $1', [
        alice().historyId,
      ]);
      expect(rows[0]!.genome_build).toBe('other');
    });
  });

  describe('triggers', () => {
    const dataset = (historyId: number | 'NULL', name = 'd') =>
      `INSERT INTO history_dataset_association (history_id, name, validated_state) VALUES (${historyId}, '${name}', 'unvalidated')`;

    it.each([
      ['a dataset is added', (id: number) => dataset(id)],
      [
        'a dataset is changed',
        (id: number) => `${dataset(id)}; UPDATE history_dataset_association SET name = 'x'`,
      ],
      [
        'a collection is added',
        (id: number) =>
          `INSERT INTO history_dataset_collection_association (history_id, name) VALUES (${id}, 'c')`,
      ],
      [
        'the history is renamed by another program',
        (id: number) => `UPDATE history SET name = 'n' WHERE id = ${id}`,
      ],
    ])('write an audit row with the UTC time when %s', async (_what, sql) => {
      const before = (await rowsOf(alice().historyId)).length;
      await fixture.foreign(sql(alice().historyId));
      const rows = await rowsOf(alice().historyId);
      expect(rows.length).toBeGreaterThan(before);
      const newest = Math.max(...rows.map((row) => parseSql(row.update_time)));
      expect(Math.abs(newest / 1000 - Date.now())).toBeLessThan(5_000);
    });

    it('leave no row for a dataset without history, an update of nothing, or a delete', async () => {
      await fixture.foreign(dataset('NULL', 'orphan'));
      const count = async () => (await fixture.foreign('SELECT * FROM history_audit')).length;
      const before = await count();
      await fixture.foreign("UPDATE history_dataset_association SET name = 'y' WHERE name = 'orphan'");
      await fixture.foreign("UPDATE history SET name = 'z' WHERE id = -1");
      await fixture.foreign("DELETE FROM history_dataset_association WHERE name = 'orphan'");
      expect(await count()).toBe(before);
    });

    it('write for the new history only when a dataset moves', async () => {
      await fixture.foreign(dataset(alice().historyId, 'mover'));
      const before = [(await rowsOf(alice().historyId)).length, (await rowsOf(bob().historyId)).length];
      await fixture.foreign(
        `UPDATE history_dataset_association SET history_id = ${bob().historyId} WHERE name = 'mover'`,
      );
      expect((await rowsOf(alice().historyId)).length).toBe(before[0]);
      expect((await rowsOf(bob().historyId)).length).toBe(before[1]! + 1);
    });
  });

  describe('changes since', () => {
    let log: SqlChangeLog;
    let floor: number;
    const touch = (historyId: number) =>
      fixture.foreign(`UPDATE history SET name = 't' WHERE id = ${historyId}`);
    beforeEach(async () => {
      log = new SqlChangeLog(db);
      await new Promise((resolve) => setTimeout(resolve, 2));
      floor = await log.now();
      await new Promise((resolve) => setTimeout(resolve, 2));
    });

    it('gives each changed history once, with its owner and newest time', async () => {
      await touch(alice().historyId);
      await new Promise((resolve) => setTimeout(resolve, 3));
      await touch(alice().historyId);
      const statements = db.statements;
      const changes = await log.changesSince(floor, { kind: 'all' });
      expect(db.statements - statements).toBe(1);
      expect(changes).toEqual([
        {
          historyId: alice().historyId,
          userId: alice().userId,
          sessionIds: [],
          newest: Math.max(...(await rowsOf(alice().historyId)).map((row) => parseSql(row.update_time))),
        },
      ]);
      expect(await log.changesSince(changes[0]!.newest, { kind: 'all' })).toEqual([]);
    });

    it("gives a user only the user's own, and a session only its own", async () => {
      const { historyId, sessionId } = demo.anonymous;
      for (const id of [alice().historyId, bob().historyId, historyId]) await touch(id);
      const ids = async (scope: Parameters<SqlChangeLog['changesSince']>[1]) =>
        (await log.changesSince(floor, scope)).map((change) => [
          change.historyId,
          change.userId,
          change.sessionIds,
        ]);
      expect(await ids({ kind: 'user', userId: alice().userId })).toEqual([
        [alice().historyId, alice().userId, []],
      ]);
      expect(await ids({ kind: 'session', sessionId })).toEqual([[historyId, undefined, [sessionId]]]);
      expect(await ids({ kind: 'session', sessionId: sessionId + 1 })).toEqual([]);
      expect(await ids({ kind: 'histories', historyIds: [bob().historyId] })).toEqual([
        [bob().historyId, bob().userId, []],
      ]);
      expect(await ids({ kind: 'all' })).toHaveLength(3);
    });

    it('finds a row whose time lies before the commit of its neighbours', async () => {
      await touch(alice().historyId);
      const cursor = await log.now();
      const late = cursor - 3 * MICROS_PER_SECOND;
      await fixture.foreign(
        `INSERT INTO history_audit (history_id, update_time) VALUES (${bob().historyId}, '${formatSql(late)}')`,
      );
      const changes = await log.changesSince(cursor - 10 * MICROS_PER_SECOND, {
        kind: 'histories',
        historyIds: [bob().historyId],
      });
      expect(changes).toHaveLength(1);
    });

    it('answers for histories named by a hint, changed or not, in one statement', async () => {
      await touch(demo.anonymous.historyId);
      const statements = db.statements;
      const changes = await log.changesOf([alice().historyId, demo.anonymous.historyId, 424_242]);
      expect(db.statements - statements).toBe(1);
      expect(changes.map((change) => [change.historyId, change.sessionIds])).toEqual([
        [alice().historyId, []],
        [demo.anonymous.historyId, [demo.anonymous.sessionId]],
      ]);
      expect(await log.changesOf([])).toEqual([]);
    });

    it('names the owners of changed entry points', async () => {
      const { sessionId } = demo.anonymous;
      const time = formatSql(await log.now());
      await fixture.foreign(`
        INSERT INTO job (id, user_id, session_id, state) VALUES (1, ${alice().userId}, ${sessionId}, 'running');
        INSERT INTO job (id, session_id, state) VALUES (2, ${sessionId}, 'running');
        INSERT INTO interactivetool_entry_point (job_id, token, created_time, modified_time)
        VALUES (1, 'a', '${time}', '${time}'), (2, 'b', '${time}', '${time}')`);
      expect(await log.entryPointOwnersSince(floor, { kind: 'all' })).toEqual({
        userIds: [alice().userId],
        sessionIds: [sessionId],
      });
      expect(await log.entryPointOwnersSince(floor, { kind: 'user', userId: bob().userId })).toEqual({
        userIds: [],
        sessionIds: [],
      });
      expect(await log.entryPointOwnersSince(floor, { kind: 'session', sessionId })).toEqual({
        userIds: [],
        sessionIds: [sessionId],
      });
      expect(await log.entryPointOwnersSince(await log.now(), { kind: 'all' })).toEqual({
        userIds: [],
        sessionIds: [],
      });
    });
  });

  it('keeps the positions of each log, in their order, and forgets them after a day', async () => {
    const store = new SqlPositionStore(db);
    const now = await db.now();
    expect(await store.newest('log')).toBeUndefined();
    const at = (secondsAgo: number, position: string) => ({
      moment: now - secondsAgo * MICROS_PER_SECOND,
      position,
    });
    const minute = Math.ceil(now / MICROS_PER_SECOND / 60) * 60 - now / MICROS_PER_SECOND;
    await store.add(at(86_500, 'log.1'));
    await store.add(at(3_600 - minute + 40, 'log.2'));
    await store.add(at(3_600 - minute + 20, 'log.3'));
    for (let n = 4; n <= 30; n += 1) await store.add(at(40 - n, `log.${n}`));
    await store.add(at(0, 'other.1'));
    expect(await store.newest('log')).toEqual(at(10, 'log.30'));
    expect((await store.entries()).map(({ position }) => position)).toEqual([
      'log.2',
      ...Array.from({ length: 27 }, (_, i) => `log.${i + 4}`),
      'other.1',
    ]);
  });

  describe('heartbeats', () => {
    const self = { serverName: 'main.1', hostname: 'here', pid: 7, appType: 'webapp' };

    it('write one row per server name and host, and show who is active', async () => {
      const workers = new SqlWorkerProcesses(db);
      await workers.beat(self, 61_000);
      await workers.beat({ ...self, serverName: 'main.2', pid: 8 }, 61_000);
      const { now, active } = await workers.beat({ ...self, pid: 9 }, 61_000);
      expect(active.map((row) => [row.serverName, row.pid]).sort()).toEqual([
        ['main.1', 9],
        ['main.2', 8],
      ]);
      for (const row of active) expect(Math.abs(now - row.updateTime)).toBeLessThan(5 * MICROS_PER_SECOND);
    });

    it('count for as long as was asked, by the clock of the database', async () => {
      const workers = new SqlWorkerProcesses(db);
      const old = formatSql((await db.now()) - 62 * MICROS_PER_SECOND);
      await fixture.foreign(`UPDATE worker_process SET update_time = '${old}' WHERE server_name = 'main.2'`);
      expect((await workers.active(61_000)).active.map((row) => row.serverName)).toEqual(['main.1']);
      expect((await workers.beat(self, 61_000)).active.map((row) => row.serverName)).toEqual(['main.1']);
      expect((await workers.active(70_000)).active).toHaveLength(2);
      expect((await workers.active(0)).active).toEqual([]);
    });

    it('disappear when their process says goodbye', async () => {
      const workers = new SqlWorkerProcesses(db);
      await workers.remove(self);
      expect((await workers.active(61_000)).active).toEqual([]);
    });
  });

  describe('notifications', () => {
    const log = () => new SqlNotificationLog(db, (id) => `enc-${id}`);
    const at = async (seconds: number) => formatSql((await db.now()) + seconds * MICROS_PER_SECOND);
    beforeAll(async () => {
      const [past, future] = [await at(-60), await at(3_600)];
      const bytes = (json: string) =>
        kind === 'sqlite' ? `CAST('${json}' AS BLOB)` : `convert_to('${json}', 'UTF8')`;
      const insert = (
        id: number,
        category: string,
        publication: string,
        expiration: string,
        content: string,
      ) =>
        `INSERT INTO notification (id, create_time, update_time, publication_time, expiration_time, source, category, variant, dispatched, content)
         VALUES (${id}, '${past}', '${past}', ${publication}, ${expiration}, 'admin', '${category}', 'info', false, ${bytes(content)});`;
      const message = '{"subject":"Hello","message":"Text","category":"message"}';
      await fixture.foreign(
        [
          insert(1, 'message', `'${past}'`, `'${future}'`, message),
          insert(2, 'message', `'${future}'`, `'${future}'`, message),
          insert(3, 'message', `'${past}'`, 'NULL', message),
          insert(4, 'broadcast', `'${past}'`, `'${future}'`, '"{\\"subject\\":\\"Twice\\"}"'),
          insert(5, 'broadcast', `'${past}'`, `'${past}'`, '{}'),
          `INSERT INTO user_notification_association (user_id, notification_id, seen_time, deleted, update_time) VALUES
             (${alice().userId}, 1, NULL, false, '${past}'), (${bob().userId}, 1, '${past}', false, '${past}'),
             (${alice().userId}, 2, NULL, false, '${past}'), (${alice().userId}, 3, NULL, false, '${past}');`,
        ].join('\n'),
      );
    });

    it('are given with their recipients, published and unexpired ones only', async () => {
      const floor = (await db.now()) - 120 * MICROS_PER_SECOND;
      const [one, ...others] = await log().notificationsSince(floor);
      expect(others).toEqual([]);
      expect(one!.userIds).toEqual([alice().userId, bob().userId]);
      expect(one!.payload).toMatch(
        /^\{"id":"enc-1","source":"admin","category":"message","variant":"info","create_time":"[\d-]+T[\d:.]+","update_time":"[^"]+","publication_time":"[^"]+","expiration_time":"[^"]+","content":\{"subject":"Hello","message":"Text","category":"message"\}\}$/,
      );
      expect(await log().notificationsSince(floor + 100 * MICROS_PER_SECOND)).toEqual([]);
    });

    it('are read where the content is JSON text inside JSON', async () => {
      const broadcasts = await log().broadcastsSince(0);
      expect(broadcasts.map((one) => JSON.parse(one.payload).content)).toEqual([{ subject: 'Twice' }]);
      expect(broadcasts[0]!.userIds).toEqual([]);
    });

    it('are summed up per user, with three statements for any number of requests', async () => {
      const now = await db.now();
      const before = db.statements;
      const texts = await log().statuses([
        { userId: alice().userId, since: 0 },
        { userId: bob().userId, since: 0 },
        { userId: undefined, since: 0 },
        { userId: alice().userId, since: now },
      ]);
      expect(db.statements - before).toBe(3);
      const [ofAlice, ofBob, anonymous, recent] = texts.map((text) => JSON.parse(text));
      expect(ofAlice).toMatchObject({
        total_unread_count: 1,
        notifications: [{ id: 'enc-1', seen_time: null, deleted: false }],
        broadcasts: [{ id: 'enc-4' }],
      });
      expect(ofBob.total_unread_count).toBe(0);
      expect(ofBob.notifications[0].seen_time).toMatch(/T/);
      expect(anonymous).toMatchObject({
        total_unread_count: 0,
        notifications: [],
        broadcasts: [{ id: 'enc-4' }],
      });
      expect(recent).toEqual({ total_unread_count: 1, notifications: [], broadcasts: [] });
    });
  });
});

describe.each(FIXTURES)('the schema on %s', (_kind, makeFixture) => {
  let fixture: DatabaseFixture;
  beforeEach(async () => {
    fixture = await makeFixture();
    return () => fixture.close();
  });

  it('is made once when several processes start at the same moment', async () => {
    const processes = [fixture.open(), fixture.open(), fixture.open()];
    await Promise.all(processes.map((db) => db.start()));
    const applied = await Promise.all(processes.map((db) => migrate(db, silent)));
    expect(applied.map((names) => names.length).sort()).toEqual([0, 0, MIGRATIONS.length]);
    await checkSchema(processes[0]!);
  });

  it('is not mixed into tables of another program', async () => {
    const db = fixture.open();
    await db.start();
    await fixture.foreign('CREATE TABLE history (id integer)');
    await expect(migrate(db, silent)).rejects.toThrow(/attach_to_galaxy/);
    await expect(checkSchema(db)).rejects.toThrow(/table worker_process.*column history.user_id/);
    expect(await db.all('SELECT * FROM history')).toEqual([]);
  });

  it('is refused when a newer Lightcone has been here', async () => {
    const db = await openMigrated(fixture);
    await db.run("INSERT INTO lightcone_migration VALUES (99, 'future', '2030-01-01')");
    await expect(migrate(db, silent)).rejects.toThrow(/migration 99/);
  });

  it('gets demo data only while it is empty', async () => {
    const db = await openMigrated(fixture);
    await addUser(db, 'first@example.org');
    expect(await seedDemo(db)).toBeUndefined();
    expect(await db.all('SELECT id FROM history')).toEqual([]);
  });
});
