/** What others met who choose a leader by a lock in PostgreSQL. Each test names its report. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdvisoryLock } from '../../src/database/postgres/advisory-lock.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { Servers } from '../../src/database/postgres/servers.js';
import { migrate } from '../../src/database/schema.js';
import { SqlWorkerProcesses } from '../../src/database/worker-processes.js';
import { Leadership } from '../../src/election/leadership.js';
import { systemClock } from '../../src/lib/clock.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { silent } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { startPgBouncer } from '../support/pgbouncer.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let database: TestDatabase;
let closers: (() => Promise<unknown>)[];
beforeEach(async () => {
  database = await createTestDatabase();
  closers = [];
});
afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await database.drop();
});

async function open(url = database.url): Promise<PostgresDatabase> {
  const db = new PostgresDatabase({ url, poolSize: 4, logger: silent, clock: systemClock });
  closers.push(() => db.stop());
  await db.start();
  return db;
}

async function proxied(url = database.url): Promise<TcpProxy> {
  const proxy = await TcpProxy.to(url);
  closers.push(() => proxy.close());
  return proxy;
}

const lockThrough = (sql: PostgresDatabase, url: string, label: string) =>
  new AdvisoryLock({ servers: new Servers(url), sql, name: 'monitor', label });

describe('behind a PgBouncer in transaction mode', () => {
  // goauthentik/authentik#23876: a session's lock stayed with a pooled connection for its life of an hour, and nobody got it.
  it('the lock of a holder that was killed is free at once, and is not shared with whoever uses the pool', async () => {
    const pooler = await startPgBouncer(database.url, 'transaction');
    closers.push(pooler.stop);
    const proxy = await proxied(pooler.url);
    const db = await open(pooler.url);
    const mine = lockThrough(db, proxy.through(pooler.url), 'mine');
    const yours = lockThrough(db, pooler.url, 'yours');
    expect(await mine.tryAcquire()).toBe(true);
    for (let i = 0; i < 10; i += 1) {
      await Promise.all([db.now(), db.now(), db.transaction((tx) => tx.all('SELECT 1'))]);
      expect(await yours.tryAcquire()).toBe(false);
      expect(await mine.check()).toBe(true);
    }
    expect(await db.createLeaderLock('monitor', '').holder()).toEqual({ held: true, label: 'mine' });
    // As kill -9 does: the sockets close, and nobody says goodbye.
    proxy.cut();
    expect(await eventually(() => yours.tryAcquire(), { within: 1_000 })).toBe(true);
    await yours.release();
    expect(await mine.tryAcquire()).toBe(true);
    await mine.release();
  });

  // pgbouncer/pgbouncer#102: what a client took was handed on with the connection, since 1.7 resets it in session mode only.
  it('a released lock is free for the next, on whatever connection', async () => {
    const pooler = await startPgBouncer(database.url, 'transaction');
    closers.push(pooler.stop);
    const db = await open(pooler.url);
    const locks = ['one', 'two', 'three'].map((label) => lockThrough(db, pooler.url, label));
    for (let round = 0; round < 4; round += 1) {
      for (const lock of locks) {
        expect(await lock.tryAcquire()).toBe(true);
        await lock.release();
        expect(await lock.holder()).toEqual({ held: false });
      }
    }
  });

  it('changes are told, and told on when the leader is killed', async () => {
    const here = await Installation.production();
    closers.push(() => here.close());
    const pooler = await startPgBouncer(String(here.galaxy.database_connection), 'transaction');
    closers.push(pooler.stop);
    const settings = { galaxy: { database_connection: pooler.url } };
    const first = here.process(['serve', '--demo'], settings);
    await first.line('leading: this process is the monitor');
    const second = here.process(['serve'], settings);
    const stream = await here.stream(await second.address());
    const { alice } = DEMO.histories;
    const told = async (within: number) => {
      const from = stream.frames.length;
      await here.change(alice);
      await stream.waitForHistory(here.encode(alice), { from, within });
    };
    await told(10_000);
    await first.kill();
    await told(10_000);
    expect(second.stderr).toContain('leading: this process is the monitor');
    // A window of the debounce and one look for changes: nothing is waited for that a session's lock or LISTEN would have told.
    await told(5_000);
  }, 60_000);

  it('and in statement mode, where no transaction stays open, the refusal says why', async () => {
    const pooler = await startPgBouncer(database.url, 'statement');
    closers.push(pooler.stop);
    const db = await open(pooler.url);
    await expect(lockThrough(db, pooler.url, 'mine').tryAcquire()).rejects.toThrow(/leader lock.*statement/s);
  });
});

describe('an answer that comes too late', () => {
  // GreptimeTeam/greptimedb#7670: the client gave up on its question for the lock, the server took it, and nobody let it go.
  it('leaves no lock behind that its taker does not know of', async () => {
    const slow = await answersLate(database.url, 3_000);
    closers.push(slow.close);
    const db = await open();
    const late = lockThrough(db, slow.url, 'late');
    slow.begin();
    await expect(late.tryAcquire()).rejects.toThrow(/leader lock/);
    const other = lockThrough(db, database.url, 'other');
    expect(await eventually(() => other.tryAcquire(), { within: 2_000 })).toBe(true);
    expect(late.held).toBe(false);
    await other.release();
  });
});

describe('a leader whose connection died without a word', () => {
  // nicolastakashi/prom-analytics-proxy#587, timescale/prometheus-postgresql-adapter#91: it went on leading beside the next one.
  it('stops before another begins', async () => {
    const proxy = await proxied();
    const [here, there] = [await open(proxy.through(database.url)), await open()];
    await migrate(there, silent);
    const events: string[] = [];
    const one = candidate(here, 'sse_monitor.one', events);
    await one.start();
    await eventually(() => events.includes('sse_monitor.one gains'));
    const two = candidate(there, 'sse_monitor.two', events);
    await two.start();
    closers.push(() => two.stop());
    await new Promise((resolve) => setTimeout(resolve, 500));
    proxy.goSilent();
    await eventually(() => events.length === 3, { within: 6_000, what: 'a successor' });
    expect(events).toEqual(['sse_monitor.one gains', 'sse_monitor.one loses', 'sse_monitor.two gains']);
    proxy.cut();
    await proxy.resume();
    await one.stop();
  });
});

function candidate(db: PostgresDatabase, serverName: string, events: string[]): Leadership {
  const heartbeatMs = 600;
  let confirmed = 0;
  return new Leadership({
    self: { serverName, hostname: 'host', pid: process.pid, appType: 'sse_monitor' },
    workerProcesses: new SqlWorkerProcesses(db),
    lock: db.createLeaderLock('monitor', serverName, 4 * heartbeatMs),
    heartbeatMs,
    role: {
      gain: async () => void events.push(`${serverName} gains`),
      lose: async () => void events.push(`${serverName} loses`),
    },
    confirmedAt: () => ++confirmed,
    hindrance: () => undefined,
    logger: silent,
    metrics: noMetrics,
    clock: systemClock,
    random: Math.random,
  });
}

/** Everything reaches the server at once; from `begin` on its answers take so long. */
async function answersLate(url: string, ms: number) {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let delayMs = 0;
  const server: Server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
    client.pipe(upstream);
    let answers = 0;
    upstream.on('data', (chunk) => {
      // The log-in passes: authentication and the first ReadyForQuery are one read here.
      answers += 1;
      setTimeout(() => client.writable && client.write(chunk), answers > 1 ? delayMs : 0);
    });
    client.on('close', () => upstream.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const through = new URL(url);
  through.port = String((server.address() as { port: number }).port);
  return {
    url: through.href,
    begin: () => {
      delayMs = ms;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
