import { beforeEach, describe, expect, it } from 'vitest';
import { type DemoData, seedDemo } from '../../src/database/demo.js';
import { hasNotifyTriggers, PollSource } from '../../src/database/poll-source.js';
import type { HintSource, Sql, SqlValue } from '../../src/database/port.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { ListenSource } from '../../src/database/postgres/listen-source.js';
import { Servers } from '../../src/database/postgres/servers.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { secondsToMicros } from '../../src/lib/time.js';
import {
  type AnyDatabase,
  type DatabaseFixture,
  eventually,
  FIXTURES,
  openMigrated,
  postgresFixture,
  silent,
} from '../support/databases.js';
import { HintRecorder } from '../support/hint-recorder.js';
import { createTestDatabase } from '../support/postgres.js';
import { TcpProxy } from '../support/tcp-proxy.js';

describe.each(FIXTURES)('the hint source of %s', (_kind, makeFixture) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let demo: DemoData;
  let heard: HintRecorder;
  let source: HintSource;
  beforeEach(async () => {
    fixture = await makeFixture();
    db = await openMigrated(fixture);
    demo = (await seedDemo(db))!;
    heard = new HintRecorder();
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
    expect(heard.gaps.filter((cause) => cause !== 'drain')).toEqual([]);
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
  let heard: HintRecorder;
  let source: HintSource;
  beforeEach(async () => {
    fixture = await postgresFixture();
    db = await openMigrated(fixture);
    demo = (await seedDemo(db))!;
    heard = new HintRecorder();
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
    // One row per statement, that of the demo's included.
    expect(await fixture.foreign(`SELECT 1 FROM history_audit WHERE history_id = ${historyId}`)).toHaveLength(
      3,
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
    await eventually(() => heard.gaps.includes('listen_reconnected'));
    expect(performance.now() - before).toBeLessThan(2_000);
    expect(heard.gaps.filter((cause) => cause !== 'drain')).toEqual(['listen_reconnected']);
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
    // The other source, LISTEN, tells gaps of its own meanwhile.
    const looks = (): number => heard.gaps.filter((cause) => cause === 'poll').length;
    await eventually(() => looks() >= 2);
    expect(Math.abs((await poll.barrier()) - (await db.now()))).toBeLessThan(secondsToMicros(1));
    await poll.stop();
    const count = looks();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(looks()).toBe(count);
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
    const heard = new HintRecorder();
    // Change and barrier in one commit: their notifications cannot come apart.
    const sql = Object.create(db, {
      all: {
        value: (text: string, params: SqlValue[]) =>
          db.transaction(async (tx) => {
            if (!text.includes('pg_notify(')) return tx.all(text, params);
            await tx.run('UPDATE history SET name = $1 WHERE id = $2', ['x', historyId]);
            return tx.all(text, params);
          }),
      },
    }) as Sql;
    const source = new ListenSource({
      servers: new Servers(database.url),
      sql,
      listener: heard,
      clock: systemClock,
      logger: silent,
    });
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
    const heard = new HintRecorder();
    const source = new ListenSource({
      servers: new Servers(proxy.through(database.url)),
      sql: direct,
      listener: heard,
      clock: systemClock,
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
