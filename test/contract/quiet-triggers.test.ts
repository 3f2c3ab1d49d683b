/** The triggers of a standalone PostgreSQL NOTIFY only while the leader does not poll. */
import pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { type DemoData, seedDemo } from '../../src/database/demo.js';
import type { HintSource, LeaderLock } from '../../src/database/port.js';
import { AdvisoryLock } from '../../src/database/postgres/advisory-lock.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { ListenSource } from '../../src/database/postgres/listen-source.js';
import { clientOptions } from '../../src/database/postgres/options.js';
import { Servers } from '../../src/database/postgres/servers.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { eventually, silent } from '../support/databases.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const SILENCED = 'SELECT NOT pg_try_advisory_xact_lock_shared(1279479365, 2) AS silenced';

/** A leader with the least of a monitor: it reads the log on every hint, one read at a time. */
class Leader {
  readonly lock: LeaderLock & AdvisoryLock;
  readonly source: HintSource;
  /** History ids by read. */
  readonly told: number[] = [];
  readonly hinted: number[] = [];
  readonly gaps: string[] = [];
  private readonly log: SqlChangeLog;
  private woken = false;
  private reading: Promise<void> | undefined;
  private position = '';

  constructor(
    readonly db: PostgresDatabase,
    url: string,
  ) {
    const servers = new Servers(url);
    this.lock = new AdvisoryLock({ servers, sql: db, name: 'monitor', label: 'test', silenceMs: 2_000 });
    this.log = new SqlChangeLog(db);
    const listener = {
      onHistories: (ids: readonly number[]) => {
        this.hinted.push(...ids);
        this.look();
      },
      onGap: (cause: string) => {
        this.gaps.push(cause);
        this.look();
      },
    };
    this.source = new ListenSource({
      servers,
      sql: db,
      listener,
      lock: this.lock,
      clock: systemClock,
      logger: silent,
    });
  }

  async start(): Promise<void> {
    expect(await this.lock.tryAcquire()).toBe(true);
    this.position = (await this.log.end()).position;
    await this.source.start();
    await eventually(() => this.gaps.includes('drain'));
  }

  async stop(): Promise<void> {
    await this.source.stop();
    await this.lock.release();
    await this.reading;
  }

  private look(): void {
    this.woken = true;
    this.reading ??= this.read().finally(() => {
      this.reading = undefined;
    });
  }

  private async read(): Promise<void> {
    while (this.woken) {
      this.woken = false;
      const read = (await this.log.since(this.position, { kind: 'all' }))!;
      this.position = read.position;
      this.told.push(...read.changes.map(({ historyId }) => historyId));
      this.source.onRead!(read.auditRows!);
    }
  }
}

describe('quiet triggers', () => {
  let database: TestDatabase;
  let leader: Leader;
  let demo: DemoData;
  let writer: pg.Client;
  let listener: pg.Client;
  let notified: string[];
  const client = async (): Promise<pg.Client> => {
    const it = new pg.Client(clientOptions(database.url, 'writer'));
    it.on('error', () => {});
    await it.connect();
    return it;
  };
  const touch = (it: pg.Client, user = 0) =>
    it.query(`UPDATE history SET name = 'x' WHERE id = ${demo.users[user]!.historyId}`);
  const silenced = async () => (await database.psql<{ silenced: boolean }>(SILENCED))[0]!.silenced;
  /** Returns when the triggers are silent; goes on until `until` resolves. */
  const busy = async (until: Promise<unknown> = Promise.resolve()): Promise<{ done: Promise<void> }> => {
    let over = false;
    let isSilent!: () => void;
    const quiet = new Promise<void>((resolve) => {
      isSilent = resolve;
    });
    void Promise.all([until, quiet]).then(() => {
      over = true;
    });
    const write = async (it: pg.Client) => {
      for (let round = 0; !over; round += 1) {
        await touch(it);
        if (round % 10 === 9 && (await it.query(SILENCED)).rows[0].silenced) isSilent();
      }
    };
    const crowd = await Promise.all([client(), client(), client(), client()]);
    const done = Promise.all(crowd.map((it) => write(it).then(() => it.end()))).then(() => {});
    await quiet;
    return { done };
  };

  beforeEach(async () => {
    database = await createTestDatabase();
    const db = new PostgresDatabase({ url: database.url, poolSize: 2, logger: silent, clock: systemClock });
    await db.start();
    await migrate(db, silent);
    demo = (await seedDemo(db))!;
    leader = new Leader(db, database.url);
    await leader.start();
    [writer, listener] = [await client(), await client()];
    notified = [];
    listener.on('notification', ({ payload }) => notified.push(payload!));
    await listener.query('LISTEN galaxy_history_update');
    return async () => {
      await Promise.all([writer.end(), listener.end()]);
      await leader.stop();
      await db.stop();
      await database.drop();
    };
  });

  it('NOTIFY of a lone change, and not while much changes, and again afterwards', async () => {
    await touch(writer, 1);
    await eventually(() => leader.hinted.includes(demo.users[1]!.historyId));
    const { done } = await busy();
    await done;
    notified.length = 0;
    for (let i = 0; i < 50; i += 1) await touch(writer, 2);
    await listener.query('SELECT 1');
    expect(notified).toEqual([]);
    await eventually(() => leader.told.includes(demo.users[2]!.historyId), { within: 500 });
    await eventually(async () => !(await silenced()), { within: 5_000 });
    await eventually(() => leader.gaps.at(-1) === 'drain');
    const [hints, before] = [leader.hinted.length, performance.now()];
    await touch(writer, 1);
    await eventually(() => leader.hinted.length > hints);
    expect(performance.now() - before).toBeLessThan(200);
  });

  it('write one audit row, and send one NOTIFY, for all rows of a history that a statement changes', async () => {
    const [alice, bob] = demo.users.map(({ historyId }) => historyId);
    await database.psql(`INSERT INTO history_dataset_association (history_id, name, validated_state)
      SELECT CASE WHEN i % 3 = 0 THEN ${bob} WHEN i % 3 = 1 THEN ${alice} END, 'many', 'ok' FROM generate_series(1, 3000) i`);
    const rows = await database.psql<{ history_id: number }>(
      'SELECT history_id FROM history_audit WHERE xid = (SELECT max(xid::text::bigint)::text::xid8 FROM history_audit)',
    );
    expect(rows.map((row) => row.history_id).sort()).toEqual([alice, bob].sort());
    await eventually(() => notified.length > 0);
    expect(notified.sort()).toEqual([String(alice), String(bob)].sort());
  });

  it('a transaction that was silent is told when it commits, long after all is calm', async () => {
    const { done } = await busy();
    await writer.query('SELECT 1');
    const long = await client();
    await long.query('BEGIN');
    await touch(long, 2);
    await done;
    await eventually(async () => !(await silenced()), { within: 5_000 });
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(leader.told).not.toContain(demo.users[2]!.historyId);
    const before = performance.now();
    await long.query('COMMIT');
    await eventually(() => leader.told.includes(demo.users[2]!.historyId));
    expect(performance.now() - before).toBeLessThan(500);
    await long.end();
  });

  it('a transaction that will NOTIFY and stays open delays nobody, and the leader keeps its lock', async () => {
    const long = await client();
    await long.query('BEGIN');
    await touch(long, 2);
    const until = (async () => {
      for (let i = 0; i < 6; i += 1) expect(await leader.lock.check()).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      expect(await leader.lock.check()).toBe(true);
    })();
    const { done } = await busy(until);
    await until;
    await done;
    await long.query('COMMIT');
    await eventually(() => leader.told.includes(demo.users[2]!.historyId));
    await long.end();
  });

  it('NOTIFY again as soon as the leader loses its lock', async () => {
    const { done } = await busy();
    await done;
    await database.psql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lightcone lock%' AND datname = current_database()",
    );
    await eventually(() => !leader.lock.held);
    notified.length = 0;
    await touch(writer, 1);
    await eventually(() => notified.length > 0);
    await eventually(() => leader.told.includes(demo.users[1]!.historyId));
  });

  it('that another program keeps silent are found by the next barrier, and polled', async () => {
    const other = await client();
    await other.query('SELECT pg_advisory_lock(1279479365, 2)');
    await leader.source.barrier();
    await touch(writer, 1);
    await eventually(() => leader.told.includes(demo.users[1]!.historyId), { within: 1_000 });
    expect(leader.hinted).toEqual([]);
    await other.query('SELECT pg_advisory_unlock(1279479365, 2)');
    await eventually(async () => {
      await touch(writer, 2);
      return leader.hinted.includes(demo.users[2]!.historyId);
    });
    await other.end();
  });

  it('let no barrier claim what was committed in silence and is not read yet', async () => {
    const { done } = await busy();
    await done;
    leader.gaps.length = 0;
    await leader.source.barrier();
    expect(leader.gaps).toContain('poll');
  });

  it('hold no lock where a statement changed nothing', async () => {
    const locks =
      "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = 2";
    await writer.query("BEGIN; UPDATE history SET name = 'x' WHERE id = -1");
    expect((await writer.query(locks)).rows[0].count).toBe(0);
    await touch(writer);
    expect((await writer.query(locks)).rows[0].count).toBe(1);
    await writer.query('COMMIT');
  });
});
