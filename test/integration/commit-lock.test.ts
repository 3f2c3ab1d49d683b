/** What `lightcone doctor` says of writers that wait for the NOTIFY of another. */
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { commitFinding } from '../../src/app/commands/doctor/notify.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { systemClock } from '../../src/lib/clock.js';
import { silent } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { type Postgres, startPostgres } from '../support/postgres.js';

let server: Postgres;
let db: PostgresDatabase;

beforeAll(async () => {
  // Nobody of this name exists: who commits synchronously waits for ever, within its commit.
  server = await startPostgres({ settings: ['synchronous_standby_names=nobody'] });
  db = new PostgresDatabase({ url: server.url, poolSize: 2, logger: silent, clock: systemClock });
  await db.start();
}, 60_000);
afterAll(async () => {
  await db?.stop();
  await server?.stop();
});

it('says how many writers wait to commit because another has sent NOTIFY, and that nobody does', async () => {
  expect(await commitFinding(db)).toMatchObject({ state: 'ok' });
  const writers = await Promise.all(
    ['on', 'off', 'off'].map(async (synchronous) => {
      const client = new pg.Client(server.url);
      client.on('error', () => {});
      await client.connect();
      await client.query(`SET synchronous_commit = ${synchronous}`);
      return client;
    }),
  );
  const waiting = async (event: string): Promise<number> => {
    const rows = await db.all('SELECT 1 FROM pg_stat_activity WHERE wait_event = $1', [event]);
    return rows.length;
  };
  const [slow, ...others] = writers;
  const commits = [slow!.query('CREATE TABLE written (); NOTIFY x').catch(() => {})];
  await eventually(async () => (await waiting('SyncRep')) === 1, { what: 'a slow commit' });
  commits.push(...others.map((client) => client.query('NOTIFY x').catch(() => {})));
  await eventually(async () => (await waiting('object')) === 2, { what: 'others that wait for it' });
  expect(await commitFinding(db)).toEqual({
    state: 'note',
    text: expect.stringMatching(
      /^up to 2 writers at once wait to commit because others send NOTIFY, in 10 of 10 samples: run/,
    ),
  });
  // Those that wait can commit now: what they did is not synchronous.
  await db.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
  await Promise.all(commits);
  expect(await commitFinding(db)).toMatchObject({ state: 'ok' });
  await Promise.all(writers.map((client) => client.end()));
});
