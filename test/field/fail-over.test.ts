/** What other people's programs met when a name led elsewhere after a fail-over, or one of several hosts was gone. */
import dns from 'node:dns';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { systemClock } from '../../src/lib/clock.js';
import { amqpBus, broadcast } from '../support/bus.js';
import { silent } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { query, startPostgres } from '../support/postgres.js';
import { createVhost } from '../support/rabbitmq.js';
import { sharedService } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const { alice } = DEMO.histories;
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end();
  vi.restoreAllMocks();
});

/** A way to a service, at an address and port of its own; `cut` as when the host is gone. */
async function way(to: URL, host: string, port = 0): Promise<{ port: number; cut(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    const service = connect(Number(to.port), to.hostname);
    for (const end of [socket, service]) {
      sockets.add(end);
      end.on('error', () => {}).on('close', () => sockets.delete(end));
    }
    socket.pipe(service).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const cut = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  // The last thing to go: whoever uses it says goodbye through it.
  open.unshift(cut);
  return { port: (server.address() as { port: number }).port, cut };
}

// brianc/node-postgres#1748, bdeitte/hot-shots#197: the name has another address, and the program goes on with the old one.
it('after a fail-over by DNS database and broker are found at the new address, and nothing is lost', async () => {
  const here = await Installation.production();
  open.push(() => here.close());
  const [database, broker] = [
    new URL(here.galaxy.database_connection as string),
    new URL(here.galaxy.amqp_internal_connection as string),
  ];
  const before = [await way(database, '127.0.0.1'), await way(broker, '127.0.0.1')];
  let address = '127.0.0.1';
  const lookup = dns.lookup;
  vi.spyOn(dns, 'lookup').mockImplementation(((
    name: string,
    options: { all?: boolean },
    done: (...answer: unknown[]) => void,
  ) => {
    if (!name.endsWith('.example')) return lookup(name, options, done as never);
    return process.nextTick(() =>
      options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4),
    );
  }) as unknown as typeof dns.lookup);
  const named = (url: URL, name: string, port: number): string => {
    const copy = new URL(url);
    copy.hostname = name;
    copy.port = String(port);
    return copy.href;
  };
  const { url } = await here.worker({
    galaxy: {
      database_connection: named(database, 'db.example', before[0]!.port),
      amqp_internal_connection: named(broker, 'mq.example', before[1]!.port),
    },
  });
  const tab = await here.stream(url);
  await here.change(alice);
  const updates = () => tab.events('history_update').length;
  await vi.waitFor(() => expect(updates()).toBeGreaterThan(0), { timeout: 5_000 });
  for (const { cut } of before) await cut();
  await here.change(alice);
  await way(database, '127.0.0.2', before[0]!.port);
  await way(broker, '127.0.0.2', before[1]!.port);
  address = '127.0.0.2';
  const told = updates();
  await vi.waitFor(() => expect(updates()).toBeGreaterThan(told), { timeout: 20_000, interval: 100 });
}, 60_000);

// nameko/nameko#552: of two brokers the second is not taken when the first is not there.
it('of several brokers one that is there is taken, at the start and when it goes', async () => {
  const vhost = await createVhost(await sharedService('rabbitmq'));
  open.push(() => vhost.delete());
  const [one, two] = [await TcpProxy.to(vhost.amqpUrl), await TcpProxy.to(vhost.amqpUrl)];
  open.push(
    () => one.close(),
    () => two.close(),
  );
  await one.refuse();
  const { bus, recorder } = amqpBus(`${one.through(vhost.amqpUrl)};${two.through(vhost.amqpUrl)}`);
  open.push(() => bus.stop());
  await bus.start();
  await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 5_000 });
  await one.resume();
  await two.refuse();
  two.cut();
  await vi.waitFor(() => expect(one.connections).toBe(1), { timeout: 8_000, interval: 50 });
  await vi.waitFor(() => expect(bus.available).toBe(true), { timeout: 8_000 });
  await bus.publish(broadcast('{}'));
  await vi.waitFor(() => expect(recorder.received).toContainEqual(broadcast('{}')));
}, 40_000);

// brianc/node-postgres#2781, porsager/postgres#815: of several hosts the first is taken, standby or not, and never another.
it('of several database servers the primary is found, also when it becomes another one', async () => {
  const first = await startPostgres();
  open.push(() => first.stop());
  const second = await startPostgres({ standbyOf: first });
  open.push(() => second.stop());
  const here = await Installation.production();
  open.push(() => here.close());
  const hosts = `127.0.0.1,127.0.0.1/postgres?port=${second.port},${first.port}`;
  const { url, worker } = await here.worker({
    galaxy: { database_connection: `postgresql://lightcone@${hosts}&target_session_attrs=primary` },
  });
  const change = (server: { url: string }) =>
    query(server.url, `UPDATE history SET name = name || '.' WHERE id = ${alice}`);
  const tab = await here.stream(url);
  const updates = () => tab.events('history_update').length;
  await change(first);
  await vi.waitFor(() => expect(updates()).toBeGreaterThan(0), { timeout: 5_000 });
  const contents = (since: string) =>
    fetch(`${url}/api/histories/${here.encode(alice)}/contents?since=${since}&key=demo-alice`).then(
      async (answer) => (await answer.json()) as { since: string; start_over: boolean },
    );
  const { since } = await contents('');
  expect((await contents(since)).start_over).toBe(false);
  const [{ end }] = (await query(first.url, 'SELECT pg_current_wal_lsn() AS end')) as [{ end: string }];
  await eventually(
    async () => (await query(second.url, `SELECT pg_last_wal_replay_lsn() >= '${end}' AS same`))[0]?.same,
    { within: 10_000, what: 'the standby to follow' },
  );
  await first.halt('immediate');
  await query(second.url, 'SELECT pg_promote()');
  await change(second);
  const told = updates();
  await vi.waitFor(() => expect(updates()).toBeGreaterThan(told), { timeout: 20_000, interval: 100 });
  await eventually(() => worker.leading && worker.monitorProblem === undefined, {
    within: 20_000,
    what: 'a leader at the new primary',
  });
  const names = await query(
    second.url,
    "SELECT DISTINCT split_part(application_name, ' ', 2) AS name FROM pg_stat_activity WHERE application_name LIKE 'lightcone%'",
  );
  expect(names.map(({ name }) => name)).toEqual(expect.arrayContaining(['', 'listen', 'lock']));

  // Commits may be lost: the stream and REST say so in the same words.
  const startsOver = () =>
    tab.events('history_update').some(({ data }) => data!.includes(`"${here.encode(alice)}":null`));
  await vi.waitFor(() => expect(startsOver()).toBe(true), { timeout: 10_000 });
  const over = await contents(since);
  expect(over.start_over).toBe(true);
  expect((await contents(over.since)).start_over).toBe(false);

  // The old primary comes back as what it now is.
  const before = updates();
  await change(second);
  await vi.waitFor(() => expect(updates()).toBeGreaterThan(before), { timeout: 5_000 });
}, 90_000);

// gpustack/gpustack#6107, brettwooldridge/HikariCP#1802: the session stays open, reads are answered, and each write fails for ever.
it('a server that takes no writes any more is left, though its sessions stay open', async () => {
  const servers = [await startPostgres(), await startPostgres()];
  open.push(...servers.map((server) => () => server.stop()));
  const db = new PostgresDatabase({
    url: servers.map((server) => server.url).join(';'),
    poolSize: 2,
    logger: silent,
    clock: systemClock,
  });
  open.push(() => db.stop());
  await db.start();
  const reader = db.lane('reader', 2);
  const port = async (sql: typeof db) =>
    Number((await sql.all<{ port: string }>("SELECT current_setting('port') AS port"))[0]!.port);
  expect([await port(db), await port(reader)]).toEqual([servers[0]!.port, servers[0]!.port]);
  const lock = db.createLeaderLock('monitor', 'me');
  open.push(() => lock.release());
  expect(await lock.tryAcquire()).toBe(true);

  await query(servers[0]!.url, 'ALTER SYSTEM SET default_transaction_read_only = on');
  await query(servers[0]!.url, 'SELECT pg_reload_conf()');
  await eventually(
    async () =>
      await db.run('CREATE TABLE written (id int)').then(
        () => true,
        () => false,
      ),
    {
      within: 5_000,
      what: 'a write',
    },
  );
  expect(await query(servers[1]!.url, "SELECT to_regclass('written') IS NOT NULL AS there")).toEqual([
    { there: true },
  ]);
  expect(await port(reader)).toBe(servers[1]!.port);
  expect(await lock.check()).toBe(false);
  expect(await lock.tryAcquire()).toBe(true);
}, 60_000);
