/** What other people's programs met behind PgBouncer. Each test names its report; more are in pg.test.ts and leader-lock.test.ts. */
import pg from 'pg';
import { afterEach, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { type PgBouncer, startPgBouncer } from '../support/pgbouncer.js';
import { restOf } from '../support/rest.js';
import type { SseClient } from '../support/sse-client.js';

const { alice } = DEMO.histories;
let here: Installation;
let pooler: PgBouncer;
let service: RunningWorker;
let stream: SseClient;
afterEach(async () => {
  await here.stopWorkers();
  await pooler?.stop();
  await here.close();
});

async function behind(mode: 'session' | 'transaction', settings: readonly string[]): Promise<void> {
  here = await Installation.production();
  pooler = await startPgBouncer(String(here.galaxy.database_connection), mode, settings);
  service = await here.worker({ galaxy: { database_connection: pooler.url } });
  stream = await here.stream(service.url);
}
async function changeIsTold(within: number): Promise<void> {
  const from = stream.frames.length;
  await here.change(alice);
  await stream.waitForHistory(here.encode(alice), { from, within });
}
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const errors = () => service.lines.filter(({ level }) => Number(level) >= 50);

// pgbouncer/pgbouncer#655, keycloak/keycloak#49991: LISTEN is accepted in transaction mode, and nothing is ever heard.
// pgbouncer/pgbouncer#114, #819: server_idle_timeout ends the session that listens, and nobody is told.
it.each([
  ['sessions are ended when they idle', ['server_idle_timeout = 1', 'server_lifetime = 1']],
  [
    'each transaction is followed by DISCARD ALL',
    ['server_reset_query = DISCARD ALL', 'server_reset_query_always = 1'],
  ],
])('in transaction mode, where %s, changes are told within seconds', async (_, settings) => {
  await behind('transaction', settings);
  for (let i = 0; i < 4; i += 1) {
    await changeIsTold(4_000);
    await after(1_500);
  }
  expect(errors()).toEqual([]);
});

// pgbouncer/pgbouncer#114: in session mode a client that is silent for client_idle_timeout is cut off; one that listens is silent.
it('in session mode a client_idle_timeout costs no change', async () => {
  await behind('session', ['client_idle_timeout = 1']);
  for (let i = 0; i < 4; i += 1) {
    await changeIsTold(4_000);
    await after(2_000);
  }
  expect(errors()).toEqual([]);
});

// porsager/postgres#547, pgbouncer/pgbouncer#1118, rust-postgres/rust-postgres#959: "prepared statement … does not exist", or exists already.
// go-pg/pg#1385: a notification for who listened before comes to whoever has the session now, in the middle of an answer.
it('in transaction mode with few sessions every request is answered, whoever had the session before', async () => {
  await behind('transaction', ['default_pool_size = 3']);
  const rest = restOf(service.url);
  const answers: { status: number }[] = [];
  for (let round = 0; round < 10; round += 1) {
    const asked = Array.from({ length: 20 }, (_, i) =>
      i % 4 === 0
        ? rest('POST', '/api/histories', { as: 'alice', body: { name: `${round} ${i}` } })
        : rest('GET', '/api/histories', { as: i % 2 === 0 ? 'alice' : 'bob' }),
    );
    answers.push(...(await Promise.all(asked)));
  }
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  await changeIsTold(4_000);
}, 60_000);

// pgbouncer/pgbouncer#384, autobase-tech/autobase#89: "query_wait_timeout": all sessions are taken, who waits is cut off, and never recovers.
it('while others have all sessions streams stay open and the log says why; afterwards it goes on', async () => {
  await behind('transaction', ['default_pool_size = 3', 'query_wait_timeout = 2']);
  await changeIsTold(4_000);
  // One holds the lock of the leader.
  const others = await Promise.all(
    [1, 2].map(async () => {
      const client = new pg.Client(pooler.url);
      client.on('error', () => {});
      await client.connect();
      await client.query('BEGIN');
      return client;
    }),
  );
  await eventually(() => service.lines.some((line) => JSON.stringify(line).includes('query_wait_timeout')), {
    within: 20_000,
    what: 'a line that names query_wait_timeout',
  });
  const from = stream.frames.length;
  await here.change(alice);
  await Promise.all(others.map((client) => client.end()));
  await stream.waitForHistory(here.encode(alice), { from, within: 15_000 });
  expect(stream.opened).toBe(1);
  await changeIsTold(4_000);
}, 60_000);
