/** What other people's programs met with node-postgres (pg, pg-pool) and PgBouncer. Each test names its report. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { systemClock } from '../../src/lib/clock.js';
import { recordingLogger } from '../support/bus.js';
import { eventually } from '../support/eventually.js';
import { startPgBouncer } from '../support/pgbouncer.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let database: TestDatabase;
const release: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  for (const end of release.splice(0).reverse()) await end();
  await database.drop();
});

function open(url: string, poolSize = 2) {
  const { logger, lines } = recordingLogger();
  const db = new PostgresDatabase({ url, poolSize, logger, clock: systemClock });
  release.push(() => db.stop());
  return { db, lines };
}
async function through(): Promise<TcpProxy> {
  const proxy = await TcpProxy.to(database.url);
  release.push(() => proxy.close());
  return proxy;
}
const ofUs = (condition = 'true') =>
  database.psql<{ pid: number; state: string }>(
    `SELECT pid, state FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${condition}`,
  );
const failure = (work: Promise<unknown>): Promise<{ code?: string; message: string } | undefined> =>
  work.then(
    () => undefined,
    (error) => error,
  );

// brianc/node-postgres#2103, logto-io/logto#8065: "unsupported startup parameter: statement_timeout" behind PgBouncer.
it('a PgBouncer that refuses time limits is used all the same, and the log says what to do', async () => {
  const bouncer = await startPgBouncer(database.url, 'session');
  release.push(bouncer.stop);
  const { db, lines } = open(bouncer.url);
  await db.start(AbortSignal.timeout(5_000));
  const lane = db.lane('other', 2);
  expect(await Promise.all([db.all('SELECT 1 AS one'), lane.all('SELECT 1 AS one')])).toEqual([
    [{ one: 1 }],
    [{ one: 1 }],
  ]);
  expect(await db.transaction((tx) => tx.all('SELECT 1 AS one'))).toEqual([{ one: 1 }]);
  expect(lines.map(({ msg }) => msg)).toContainEqual(expect.stringContaining('ignore_startup_parameters'));
});

// pgbouncer/pgbouncer#381, #525: a statement_timeout that the pooler ignores has no effect.
it('a statement that no time limit ends is cancelled when it is given up', async () => {
  const bouncer = await startPgBouncer(database.url, 'transaction', [
    'ignore_startup_parameters = statement_timeout, lock_timeout, idle_in_transaction_session_timeout, options, extra_float_digits, datestyle',
  ]);
  release.push(bouncer.stop);
  const { db } = open(bouncer.url);
  await db.start(AbortSignal.timeout(5_000));
  const asked = failure(db.all('SELECT pg_sleep(60)'));
  await eventually(async () => (await ofUs("query LIKE '%pg_sleep(60)%' AND state = 'active'")).length === 1);
  expect(await asked).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  await eventually(async () => (await ofUs("query LIKE '%pg_sleep(60)%' AND state = 'active'")).length === 0);
  expect(await db.all('SELECT 1 AS one')).toEqual([{ one: 1 }]);
}, 20_000);

// brianc/node-postgres#3083, #1324: a connection that is ended while it is checked out ends the process.
it('a connection that is ended while a transaction holds it costs that transaction and nothing else', async () => {
  const { db } = open(database.url);
  await db.start();
  const held = failure(
    db.transaction(async (tx) => {
      const [row] = await tx.all<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await database.psql(`SELECT pg_terminate_backend(${row!.pid})`);
      // Nothing is asked while it ends: the error comes as an event.
      await eventually(async () => (await ofUs(`pid = ${row!.pid}`)).length === 0);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await tx.all('SELECT 1');
    }),
  );
  expect(await held).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  expect(await db.all('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(db.problem()).toBeUndefined();
});

// brianc/node-postgres#1790: after idle_in_transaction_session_timeout "Client … is not queryable", without a reason.
it('a transaction that the server ends because nothing came is reported, and rolled back', async () => {
  await database.psql('CREATE TABLE t (id integer)');
  const { db } = open(database.url);
  await db.start();
  const late = failure(
    db.transaction(async (tx) => {
      await tx.run('INSERT INTO t VALUES (1)');
      // Our own limit, so that a frozen process of ours holds no locks.
      await eventually(async () => (await ofUs("state LIKE 'idle in transaction%'")).length === 0, {
        within: 12_000,
      });
      await tx.run('INSERT INTO t VALUES (2)');
    }),
  );
  expect(await late).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  expect(await db.all('SELECT * FROM t')).toEqual([]);
}, 20_000);

// brianc/node-postgres#2112: a connection that ended while it lay in the pool is handed out.
it('statements after a server ended all idle connections fail at most once each', async () => {
  const { db } = open(database.url, 4);
  await db.start();
  await Promise.all([1, 2, 3, 4].map(() => db.all('SELECT pg_sleep(0.05)')));
  await database.psql(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  );
  await eventually(async () => (await ofUs()).length === 0);
  await Promise.all([1, 2, 3, 4].map(() => failure(db.all('SELECT 1'))));
  expect(await Promise.all([1, 2, 3, 4].map(() => db.all('SELECT 1 AS one')))).toEqual(
    Array(4).fill([{ one: 1 }]),
  );
});

// brianc/node-postgres#3543 (pg-pool): a connection that takes longer than connectionTimeoutMillis is never used, nor closed.
it('connections that are not made in time leave nothing behind, here or on the server', async () => {
  const proxy = await through();
  const { db } = open(proxy.through(database.url));
  await db.start();
  proxy.goSilent();
  await database.psql(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  );
  const errors = await Promise.all([1, 2, 3, 4].map(() => failure(db.all('SELECT 1'))));
  expect(new Set(errors.map((error) => error?.code))).toEqual(new Set(['DATABASE_UNAVAILABLE']));
  expect(db.problem()).toBeDefined();
  proxy.resume();
  expect(
    await eventually(() => db.all('SELECT 1 AS one').catch(() => undefined), { within: 15_000 }),
  ).toEqual([{ one: 1 }]);
  await Promise.all([1, 2, 3, 4].map(() => db.all('SELECT pg_sleep(0.05)')));
  await eventually(async () => (await ofUs()).length <= 2, { within: 10_000, what: 'no more than the pool' });
}, 60_000);

// brianc/node-postgres#1390, brianc/node-pg-pool#116: who waits for a busy pool waits for ever, or hears of a connection.
it('who waits for a busy pool hears that it is busy, and those before it are not disturbed', async () => {
  const { db } = open(database.url);
  await db.start();
  const busy = [1, 2].map(() => db.all('SELECT pg_sleep(6)'));
  const waiting = await failure(db.all('SELECT 1'));
  expect(waiting).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  expect(waiting!.message).toMatch(/all 2 connections .* are busy/);
  await expect(Promise.all(busy)).resolves.toHaveLength(2);
}, 20_000);
