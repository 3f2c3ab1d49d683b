/** `lightcone doctor --probe` and `lightcone tail --user`: where an event is on its way, and what one user is sent. */
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { GALAXY_TABLES } from '../support/galaxy-tables.js';
import { DEMO, Installation, type Settings } from '../support/installation.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let here: Installation;
afterEach(() => here.close());

const leads = 'leading: this process is the monitor';

/** Settings with the address of a running worker. */
const at = (url: string, settings: Settings = {}): Settings => ({
  ...settings,
  sse: { ...settings.sse, listen: url.replace('http://', '') },
});

/** @returns the exit code, and the line of the probe */
async function probe(url: string, settings: Settings = {}): Promise<{ code: number | null; said: string }> {
  const process = here.process(['doctor', '--probe'], at(url, settings));
  const { code } = await process.exited;
  return { code, said: /^\w+ +probe +.*$/m.exec(process.stdout)?.[0] ?? process.stdout + process.stderr };
}

const TABLES = [
  'history',
  'history_audit',
  'galaxy_session',
  'galaxy_session_to_history',
  'galaxy_user',
  'lightcone_outbox',
];

/** Queues for the leader's lock under the name of who holds it now. */
async function waitForLeaderLock(): Promise<pg.Client> {
  const [leader] = await here.sql<{ objid: string; application_name: string }>(
    `SELECT objid::text, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
      WHERE locktype = 'advisory' AND granted AND application_name LIKE 'lightcone lock%' AND datname = current_database()`,
  );
  const client = new pg.Client({
    connectionString: here.galaxy.database_connection as string,
    application_name: leader!.application_name,
  });
  await client.connect();
  client.on('error', () => {});
  const key = Number(leader!.objid) | 0;
  void client.query(`BEGIN; SELECT pg_advisory_xact_lock(1279479365, ${key})`).catch(() => {});
  await eventually(async () => {
    const waiting = await here.sql(
      `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = ${leader!.objid}`,
    );
    return waiting.length > 0;
  });
  return client;
}

/** What anybody could find in the database. */
async function rows(): Promise<unknown> {
  const counts = TABLES.map((table) => `(SELECT count(*) FROM ${table}) AS ${table}`);
  return (await here.sql(`SELECT ${counts.join(', ')}`))[0];
}

describe('doctor --probe', () => {
  it('follows a change through the one process of the embedded default, and leaves no trace', async () => {
    here = Installation.embedded();
    const { url } = await here.worker();
    const stream = await here.stream(url);
    const before = await rows();
    const { code, said } = await probe(url);
    expect(said).toMatch(
      /^ok +probe +a change went all the way in [\d.]+ ms: commit [\d.]+ ms, monitor and worker [\d.]+ ms$/,
    );
    expect(code).toBe(0);
    expect(await rows()).toEqual(before);
    expect(stream.frames.filter(({ event }) => event !== undefined && event !== 'ready')).toEqual([]);
  });

  it('names every hop with PostgreSQL and RabbitMQ', async () => {
    here = await Installation.production();
    const monitor = here.process(['monitor']);
    await monitor.line(leads);
    const worker = here.process(['serve', '--demo']);
    const url = await worker.address();
    await monitor.line('monitor caught up: it publishes the changes since its cursor');
    const before = await rows();
    const { code, said } = await probe(url);
    expect(said).toMatch(
      /^ok +probe +a change went all the way in [\d.]+ ms: commit [\d.]+ ms, (NOTIFY [\d.]+ ms, )?(monitor and broker [\d.]+ ms, worker|monitor, broker and worker) [\d.]+ ms$/,
    );
    expect(code).toBe(0);
    expect(await rows()).toEqual(before);

    // Whoever takes over would tell the change: a session that does nothing waits for the lock before all others.
    const successor = await waitForLeaderLock();
    monitor.signal('SIGSTOP');
    try {
      const frozen = await probe(url);
      expect(frozen.said).toMatch(/^problem +probe +.*it stopped at the monitor \(process \d+ .*frozen/);
      expect(frozen.code).toBe(1);
      expect(await rows()).toEqual(before);
    } finally {
      monitor.signal('SIGCONT');
      await successor.end();
    }
  });

  it('that is interrupted leaves no trace, too', async () => {
    here = Installation.embedded();
    const { url } = await here.worker();
    const before = await rows();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const process = here.process(['doctor', '--probe'], at(url));
      await eventually(async () => {
        const sql = "SELECT 1 FROM galaxy_session WHERE remote_addr = 'lightcone doctor'";
        return (await here.sql(sql)).length > 0;
      });
      process.signal(signal);
      expect((await process.exited).code).toBe(1);
      expect(process.stdout).toMatch(/^problem +probe +the test change failed: interrupted$/m);
      expect(await rows()).toEqual(before);
    }
  });

  it('says that the database records nothing, and migrate mends that', async () => {
    here = Installation.embedded();
    const { url } = await here.worker();
    await here.sql('DROP TRIGGER trigger_history_aur');
    expect((await probe(url)).said).toMatch(
      /^problem +probe +a change was committed but not recorded in history_audit/,
    );
    expect(await here.process(['migrate']).exited).toMatchObject({ code: 0 });
    expect(await probe(url)).toMatchObject({ code: 0, said: expect.stringMatching(/^ok /) });
  });

  it('names the broker when it is away', async () => {
    here = await Installation.production();
    const broker = await TcpProxy.to(here.galaxy.amqp_internal_connection as string);
    const settings: Settings = {
      galaxy: { amqp_internal_connection: broker.through(here.galaxy.amqp_internal_connection as string) },
    };
    const { url } = await here.worker(settings);
    await broker.refuse();
    broker.cut();
    const { code, said } = await probe(url, settings);
    expect(said).toMatch(
      /^problem +probe +a change was committed but did not arrive within 5 s: it stopped at the broker \(/,
    );
    expect(code).toBe(1);
    await broker.close();
  });

  it('says where no worker runs', async () => {
    here = Installation.embedded();
    const { stop } = await here.worker();
    await stop();
    const { code, said } = await probe('http://127.0.0.1:9');
    expect(said).toMatch(/^problem +probe +the test change failed: no worker listens on 127\.0\.0\.1:9/);
    expect(code).toBe(1);
  });
});

describe('beside a Galaxy', () => {
  it('the probe writes nothing', async () => {
    here = await Installation.production();
    await here.sql(GALAXY_TABLES);
    const { code, said } = await probe('http://127.0.0.1:9', { sse: { attach_to_galaxy: true } });
    expect(said).toMatch(/^note +probe +skipped beside a Galaxy, .*lightcone tail --user EMAIL/);
    expect(code).toBe(0);
  });
});

describe('tail', () => {
  const follow = (url: string, args: string[], settings: Settings = {}) =>
    here.process(['tail', ...args], at(url, settings));

  it('prints what one user is sent, goes on after a restart of the worker, and ends with Ctrl-C', async () => {
    here = Installation.embedded();
    const settings = { galaxy: { enable_notification_system: true } };
    const first = here.process(['serve', '--demo'], settings);
    const url = await first.address();
    const process = follow(url, ['--user', 'Alice@example.org'], settings);
    const json = follow(url, ['--user', 'alice@example.org', '--json'], settings);
    for (const one of [process, json])
      await expect.poll(() => one.stdout, { timeout: 10_000 }).toContain('ready');
    const { alice, bob } = DEMO.histories;
    await here.change(bob);
    await here.change(alice);
    const id = here.encode(alice);
    await expect.poll(() => json.stdout, { timeout: 5_000 }).toContain('history_update');
    await expect.poll(() => process.stdout, { timeout: 5_000 }).toContain(id);
    const line = process.stdout.split('\n').find((text) => text.includes(id));
    expect(line).toMatch(
      new RegExp(
        `^\\d\\d:\\d\\d:\\d\\d\\.\\d{3}  history_update {8}${id} \\(history ${alice}\\)  id \\d{4}-`,
      ),
    );
    expect(process.stdout).not.toContain(here.encode(bob));
    const told = json.stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(told.find(({ event }) => event === 'history_update')).toMatchObject({
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      id: expect.any(String),
      data: { history_ids: [id] },
    });

    await first.stop();
    await here.change(alice);
    const from = process.stdout.length;
    const second = here.process(['serve'], at(url, settings));
    await second.address();
    await expect.poll(() => process.stdout.slice(from), { timeout: 15_000 }).toContain(id);
    expect(process.stderr).toContain('the stream is open again; missed events come first');

    for (const one of [process, json]) one.signal('SIGINT');
    expect(await Promise.all([process.exited, json.exited])).toEqual([
      { code: 0, signal: null },
      { code: 0, signal: null },
    ]);
  });

  it.each<[string, string[], Settings, number, RegExp]>([
    ['no such user', ['--user', 'nobody@example.org'], {}, 1, /there is no user nobody@example\.org/],
    ['nobody named', [], {}, 2, /--user/],
    [
      'updates off',
      ['--user', 'alice@example.org'],
      { galaxy: { enable_sse_updates: false } },
      2,
      /enable_sse_updates is off/,
    ],
    [
      'no worker here',
      ['--user', 'alice@example.org'],
      { sse: { listen: '127.0.0.1:9' } },
      75,
      /nothing listens on 127\.0\.0\.1:9/,
    ],
  ])('says it: %s', async (_, args, settings, code, words) => {
    here = Installation.embedded();
    const { url } = await here.worker();
    const process = here.process(['tail', ...args], {
      ...settings,
      sse: { listen: url.replace('http://', ''), ...settings.sse },
    });
    const exit = await process.exited;
    expect(process.stderr).toMatch(words);
    expect(exit.code).toBe(code);
    expect(process.stdout).toBe('');
  });

  it('does not follow on the worker of another installation', async () => {
    here = Installation.embedded();
    const other = Installation.embedded();
    try {
      await here.worker();
      const { url } = await other.worker();
      const process = follow(url, ['--user', 'alice@example.org']);
      expect((await process.exited).code).toBe(1);
      expect(process.stderr).toMatch(/another installation/);
    } finally {
      await other.close();
    }
  });
});
