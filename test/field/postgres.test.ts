/** What other people's programs met at a PostgreSQL whose administrator restores, locks up and restricts. Each test names its report. */
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { rowClockFinding } from '../../src/app/commands/doctor/row-clock.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { silent } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { query, startPostgres } from '../support/postgres.js';
import { locate } from '../support/programs.js';

const { alice } = DEMO.histories;
let here: Installation;
let url: string;
beforeEach(async () => {
  here = await Installation.production();
  url = here.galaxy.database_connection as string;
});
afterEach(async () => {
  await here.close();
});

const run = promisify(execFile);
const bin = (name: string): string => join(dirname(locate('postgresql')), name);
const admin = (): string => Object.assign(new URL(url), { pathname: '/postgres' }).href;
const name = (): string => new URL(url).pathname.slice(1);

// boardsesh/boardsesh#4699, block/buzz#7272: pg_restore empties search_path, and triggers that name tables without a schema fail.
it('a program without a search_path writes, and what it wrote is told; a data-only dump is restored', async () => {
  const { url: address } = await here.worker();
  const tab = await here.stream(address);
  const from = tab.frames.length;
  await query(url, `SET search_path = ''; UPDATE public.history SET name = 'restored' WHERE id = ${alice}`);
  await tab.waitForHistory(here.encode(alice), { from });
  const { stdout } = await run(bin('pg_dump'), ['--data-only', '--inserts', '-t', 'history', url]);
  const restored = stdout
    .replaceAll(/^\\.*$/gm, '')
    .replaceAll(/VALUES \((\d+),/g, (_, id) => `VALUES (${Number(id) + 1_000_000},`);
  await query(url, restored);
  expect(await query(url, 'SELECT count(*)::int AS n FROM history WHERE id > 1000000')).not.toEqual([
    { n: 0 },
  ]);
  expect(
    await query(url, 'SELECT count(*)::int AS n FROM history_audit WHERE history_id > 1000000'),
  ).not.toEqual([{ n: 0 }]);
}, 30_000);

// supabase/agent-skills#138: the role sees no rows (row level security), nothing says so, and the tables are taken for empty.
it('row level security that hides rows from us is said, not taken for silence', async () => {
  const role = `hidden_${name()}`;
  const { url: address, stop } = await here.worker();
  await here.stream(address);
  here.closeStreams();
  await stop();
  await here.sql(
    `CREATE ROLE ${role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${role}; GRANT ALL ON SCHEMA public TO ${role}`,
  );
  await here.sql(
    'ALTER TABLE history ENABLE ROW LEVEL SECURITY; ALTER TABLE history_audit ENABLE ROW LEVEL SECURITY',
  );
  const own = Object.assign(new URL(url), { username: role }).href;
  const settings = { galaxy: { database_connection: own } };
  try {
    const doctor = here.process(['doctor'], settings);
    await doctor.exited;
    expect(doctor.stdout + doctor.stderr).toMatch(
      /row level security is on .* in history, history_audit: .*BYPASSRLS/,
    );
    const { lines } = await here.worker(settings, { waitUntilReady: false });
    await eventually(
      () => lines.some(({ level, msg }) => level === 40 && /row level security/.test(String(msg))),
      {
        within: 10_000,
        what: 'a warning',
      },
    );
    await here.stopWorkers();
  } finally {
    await here.sql(
      `ALTER TABLE history DISABLE ROW LEVEL SECURITY; ALTER TABLE history_audit DISABLE ROW LEVEL SECURITY;
       DROP OWNED BY ${role}; DROP ROLE ${role}`,
    );
  }
}, 60_000);

// PostgreSQL's manual, ALTER DATABASE … RENAME: how a restored copy takes the place of a database. Only connections that are new lead there.
it('a restored database that takes the name of the old one is read from its start, and tabs are told to look', async () => {
  const { url: address, worker } = await here.worker();
  const tab = await here.stream(address);
  await here.change(alice);
  await tab.waitForHistory(here.encode(alice), {});
  const copy = `${name()}_copy`;
  // Nobody may come back before the copy is made.
  await query(admin(), `ALTER DATABASE ${name()} ALLOW_CONNECTIONS false`);
  await query(
    admin(),
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${name()}'`,
  );
  await query(admin(), `CREATE DATABASE ${copy} TEMPLATE ${name()}`);
  await query(admin(), `ALTER DATABASE ${name()} RENAME TO ${name()}_old`);
  await query(admin(), `ALTER DATABASE ${copy} RENAME TO ${name()}`);
  const from = tab.frames.length;
  await here.change(alice);
  await tab.waitForHistory(here.encode(alice), { from, within: 30_000 });
  await eventually(() => worker.leading && worker.monitorProblem === undefined, {
    within: 20_000,
    what: 'a leader',
  });
  await query(admin(), `DROP DATABASE ${name()}_old WITH (FORCE)`);
}, 60_000);

// magda-io/magda#3776: what a server says in its own language is not what a program looks for. The codes are the same everywhere.
it('a right that is missing is named where the server speaks German, too', async () => {
  const server = await startPostgres({ language: 'de' });
  const open = (address: string) =>
    new PostgresDatabase({ url: address, poolSize: 1, logger: silent, clock: systemClock });
  const owner = open(server.url);
  const guest = open(Object.assign(new URL(server.url), { username: 'guest' }).href);
  onTestFinished(async () => {
    await Promise.all([owner.stop(), guest.stop()]);
    await server.stop();
  });
  await owner.start();
  await migrate(owner, silent);
  await query(server.url, 'CREATE ROLE guest LOGIN; GRANT SELECT ON history_audit TO guest');
  await guest.start();
  await expect(guest.all('SELECT * FROM galaxy_user')).rejects.toThrow('keine Berechtigung');
  expect(await rowClockFinding(guest, 10)).toMatchObject({
    state: 'note',
    text: expect.stringContaining('GRANT SELECT (history_id, update_time, xmin)'),
  });
}, 30_000);
