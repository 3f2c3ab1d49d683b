/** What anybody with a role of the same database can do beside NOTIFY (test/fuzz/notify.test.ts): it is named, with what to do. */
import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { Installation } from '../support/installation.js';
import { restOf } from '../support/rest.js';

const ROLE = `stranger_${process.pid}`;
let here: Installation;
let stranger: pg.Client;
beforeEach(async () => {
  here = await Installation.production();
  await here.sql(`CREATE ROLE ${ROLE} LOGIN`);
  const url = new URL(here.galaxy.database_connection as string);
  url.username = ROLE;
  stranger = new pg.Client({ connectionString: url.href, application_name: 'psql' });
  stranger.on('error', () => {});
  await stranger.connect();
});
afterEach(async () => {
  await stranger.end();
  await here.sql(`DROP OWNED BY ${ROLE}; DROP ROLE ${ROLE}`);
  await here.close();
});

async function doctor(): Promise<string> {
  const process = here.process(['doctor']);
  await expect.poll(() => process.running, { timeout: 20_000 }).toBe(false);
  return process.stdout;
}

it('a stranger that holds the lock of the monitor is named by the doctor, and /wellz fails; afterwards all goes on', async () => {
  await here.worker();
  const [lock] = await here.sql<{ classid: number; objid: number }>(
    "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
  );
  const waits = stranger.query(`SELECT pg_advisory_lock(${lock!.classid}, ${lock!.objid}), pg_backend_pid()`);
  await here.stopWorkers();
  const [{ pg_backend_pid: pid }] = (await waits).rows as [{ pg_backend_pid: number }];

  const worker = await here.worker({}, { waitUntilReady: false });
  await eventually(async () => (await fetch(`${worker.url}/wellz`).catch(() => undefined))?.status === 503, {
    within: 20_000,
    what: '/wellz says that nobody leads',
  });
  const said = await doctor();
  expect(said).toMatch(/^problem +election /m);
  expect(said).toContain(`session ${pid} of the account ${ROLE} holds its lock`);

  await here.sql(`SELECT pg_terminate_backend(${pid})`);
  await eventually(async () => (await fetch(`${worker.url}/wellz`)).status === 200, {
    within: 20_000,
    what: 'well again',
  });
  expect(await doctor()).toMatch(/^ok +election +monitor: process \d+ main/m);
}, 60_000);

it('a schema in which everybody may create functions is named by the doctor: they run as Lightcone', async () => {
  const { url } = await here.worker();
  expect(await doctor()).toMatch(/^ok +schema /m);
  await here.sql(
    'GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE TABLE ran_as (account text); GRANT ALL ON ran_as TO PUBLIC',
  );
  // For a varchar it fits better than pg_catalog.lower(text) does.
  await stranger.query(`
    CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO public.ran_as VALUES (current_user); RETURN pg_catalog.lower($1::text); END $$`);
  await restOf(url)('POST', '/api/login', { body: { login: 'alice@example.org', password: 'x' } });
  const { username } = new URL(here.galaxy.database_connection as string);
  expect(await here.sql('SELECT DISTINCT account FROM ran_as')).toEqual([{ account: username }]);
  expect(await doctor()).toMatch(
    /^note +schema .*; everybody .* REVOKE CREATE ON SCHEMA public FROM PUBLIC/m,
  );
  await here.sql('REVOKE CREATE ON SCHEMA public FROM PUBLIC');
  expect(await doctor()).toMatch(/^ok +schema /m);
});
