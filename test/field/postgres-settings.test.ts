/** What administrators of a PostgreSQL change under running programs. Each test names its report. */
import { randomUUID } from 'node:crypto';
import { setTimeout as after } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { query } from '../support/postgres.js';
import type { SseClient } from '../support/sse-client.js';

const { alice } = DEMO.histories;
let here: Installation;
let database: string;
beforeEach(async () => {
  here = await Installation.withoutBroker();
  database = new URL(here.galaxy.database_connection as string).pathname.slice(1);
});
afterEach(async () => {
  await here.close();
});

/** For sessions that begin from now on, and all of ours do: the administrator ends those that there are. */
async function set(...settings: string[]): Promise<void> {
  for (const setting of settings) await here.sql(`ALTER DATABASE ${database} ${setting}`);
  await here.sql(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  );
}

async function told(tab: SseClient, change: () => Promise<unknown>, within = 10_000): Promise<void> {
  const from = tab.frames.length;
  await change();
  await tab.waitForHistory(here.encode(alice), { from, within });
}

async function running(): Promise<RunningWorker & { tab: SseClient }> {
  const worker = await here.worker();
  const tab = await here.stream(worker.url);
  await told(tab, () => here.change(alice));
  return { ...worker, tab };
}

const well = async ({ url }: RunningWorker): Promise<string> => (await fetch(`${url}/wellz`)).text();
const warnings = ({ lines }: RunningWorker): string =>
  JSON.stringify(lines.filter(({ level }) => Number(level) >= 40));

// PostHog/posthog#54922, supabase/postgres#814: timeouts of the role or the database end statements and open transactions.
it('short timeouts of the database neither end the lock of the leader nor what it does', async () => {
  const worker = await running();
  await set(
    "SET statement_timeout = '1s'",
    "SET lock_timeout = '200ms'",
    "SET idle_in_transaction_session_timeout = '1s'",
  );
  await eventually(() => worker.worker.leading && worker.worker.monitorProblem === undefined, {
    within: 20_000,
    what: 'a leader',
  });
  await after(2_000);
  const since = worker.lines.length;
  await after(4_000);
  await told(worker.tab, () => here.change(alice));
  expect(worker.worker.leading).toBe(true);
  expect(worker.lines.slice(since).filter(({ level }) => Number(level) >= 40)).toEqual([]);
}, 60_000);

// MicrosoftDocs/azure-docs#107601, citusdata/pg_cron#270: a hosted database that runs full becomes read-only, and writable again.
it('a database that becomes read-only is said with what to do, and when that is over what was changed is told', async () => {
  const worker = await running();
  await set('SET default_transaction_read_only = on');
  await eventually(async () => /read-only/.test(await well(worker)), { within: 15_000, what: 'a reason' });
  expect(warnings(worker)).toMatch(/read-only/);
  const from = worker.tab.frames.length;
  const writing = (sql: string) => here.sql(`BEGIN; SET TRANSACTION READ WRITE; ${sql}; COMMIT`);
  await writing(`UPDATE history SET name = 'x' WHERE id = ${alice}`);
  await writing(`ALTER DATABASE ${database} RESET default_transaction_read_only`);
  // Sessions that are open stay read-only, as with the hosted database.
  await worker.tab.waitForHistory(here.encode(alice), { from, within: 60_000 });
  await eventually(() => worker.worker.leading && worker.worker.monitorProblem === undefined, {
    within: 30_000,
    what: 'a leader',
  });
}, 120_000);

// brianc/node-postgres#2419, citusdata/citus#4735: a search_path of the role or the database that leads elsewhere.
it('a search_path that hides the tables is said, and taken back all goes on', async () => {
  const worker = await running();
  await here.sql('CREATE SCHEMA elsewhere');
  await set('SET search_path = elsewhere');
  await eventually(async () => /does not exist/.test(await well(worker)), {
    within: 15_000,
    what: 'a reason',
  });
  expect(warnings(worker)).toMatch(/does not exist/);
  // A browser gives up for good after any other status, and what is wrong here passes.
  for (const key of ['demo-alice', 'demo-bob']) {
    const stream = await fetch(`${worker.url}/api/events/stream?key=${key}`, {
      signal: AbortSignal.timeout(5_000),
    });
    expect(stream.status).toBe(200);
    await stream.body?.cancel();
  }
  const from = worker.tab.frames.length;
  await here.sql(`UPDATE public.history SET name = 'x' WHERE id = ${alice}`);
  await set('RESET search_path');
  await worker.tab.waitForHistory(here.encode(alice), { from, within: 30_000 });
}, 90_000);

// estuary/connectors#2279: a table that is replaced by one of another name, as for a cheap rewrite, and nobody is told.
it.each([
  [
    'rewritten and renamed',
    'CREATE TABLE fresh (LIKE history_audit INCLUDING ALL); INSERT INTO fresh SELECT * FROM history_audit; DROP TABLE history_audit; ALTER TABLE fresh RENAME TO history_audit',
  ],
  ['emptied', 'TRUNCATE history_audit'],
  ['given new indexes', 'REINDEX TABLE CONCURRENTLY history_audit'],
  ['rewritten on the spot', 'VACUUM FULL history_audit'],
])(
  'an audit table that is %s while all runs costs no change',
  async (_, sql) => {
    const { tab } = await running();
    for (const statement of sql.startsWith('CREATE') ? [`BEGIN; ${sql}; COMMIT`] : [sql])
      await here.sql(statement);
    for (let i = 0; i < 3; i += 1) await told(tab, () => here.change(alice));
  },
  60_000,
);

// bucardo/bucardo#116, dalibo/emaj#42, hasura/graphql-engine#8814: what replication writes fires no triggers.
it('a trigger that is switched off is named by doctor', async () => {
  await running();
  await here.sql('ALTER TABLE history ENABLE REPLICA TRIGGER trigger_history_audit_by_id_aus');
  const doctor = here.process(['doctor']);
  await doctor.exited;
  expect(doctor.stdout).toMatch(/problem +triggers +no trigger for UPDATE on history/);
}, 60_000);

// OpenSIPS/opensips-cp#93, akiver/cs-demo-manager#797: a database in LATIN1 cannot hold what browsers send.
describe('a database in LATIN1', () => {
  it('refuses what it cannot hold with a reason, and holds what it can', async () => {
    const name = `latin_${randomUUID().slice(0, 8)}`;
    const admin = here.galaxy.database_connection as string;
    await query(
      admin,
      `CREATE DATABASE ${name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
    );
    const url = Object.assign(new URL(admin), { pathname: `/${name}` }).href;
    try {
      const { url: address } = await here.worker({ galaxy: { database_connection: url } });
      const tab = await here.stream(address);
      const rename = (to: string) =>
        fetch(`${address}/api/histories/${here.encode(alice)}?key=demo-alice`, {
          method: 'PUT',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ name: to }),
        });
      await told(tab, async () => expect((await rename('Grüße')).status).toBe(200));
      const refused = await rename('☃');
      expect([refused.status, await refused.text()]).toEqual([400, expect.stringMatching(/LATIN1/)]);
      const found = await fetch(
        `${address}/api/histories?key=demo-alice&q=name-like&qv=${encodeURIComponent('%☃%')}`,
      );
      expect(found.status).toBeLessThan(500);
      await told(tab, async () => expect((await rename('wieder')).status).toBe(200));
      await here.stopWorkers();
    } finally {
      await query(admin, `DROP DATABASE ${name} WITH (FORCE)`);
    }
  }, 60_000);
});
