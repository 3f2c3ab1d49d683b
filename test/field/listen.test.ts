/** What other people's programs met with LISTEN over node-postgres. Each test names its report. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import type { SseClient } from '../support/sse-client.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let here: Installation;
let proxy: TcpProxy;
let stream: SseClient;
beforeEach(async () => {
  here = await Installation.production();
  const direct = here.galaxy.database_connection as string;
  proxy = await TcpProxy.to(direct);
  const { url } = await here.worker({ galaxy: { database_connection: proxy.through(direct) } });
  stream = await here.stream(url);
});
afterEach(async () => {
  await here.close();
  await proxy.close();
});

interface Session {
  pid: number;
  client_port: number;
}
/** Of the LISTEN connection that serves now; empty while there is none. */
const listeners = () =>
  here.sql<Session>(
    `SELECT pid, client_port FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE '%listen%'`,
  );
const told = () => stream.events('history_update').length;
async function changeIsTold(within: number): Promise<void> {
  const before = told();
  await here.change(DEMO.histories.alice);
  await eventually(() => told() > before, { within, what: 'the event of the change' });
}

// brianc/node-postgres#967: LISTEN behind a firewall: no more notifications, and neither `error` nor `end`.
// timgit/pg-boss#850: the server's session is gone, the socket looks connected, and a slow poll is all that is left.
it('a LISTEN connection that is half open is found and replaced while changes are made, and no change is lost', async () => {
  await changeIsTold(2_000);
  const [session] = await listeners();
  proxy.silence(session!.client_port);
  await here.sql(`SELECT pg_terminate_backend(${session!.pid})`);
  await changeIsTold(9_000);
  await eventually(async () => (await listeners()).some(({ pid }) => pid !== session!.pid), {
    within: 9_000,
  });
  await changeIsTold(1_000);
});

// brianc/node-postgres#3003: the server is restarted, the client's `error` never comes, all later notifications are lost.
it('every connection that goes silent at once is replaced, and what was committed meanwhile is told', async () => {
  proxy.goSilent();
  const before = told();
  await here.change(DEMO.histories.alice);
  await here.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  await proxy.resume();
  await eventually(() => told() > before, { within: 25_000, what: 'the change that was made meanwhile' });
  await changeIsTold(1_000);
}, 60_000);

// graphile/worker#541: ECONNREFUSED while the database recovers; LISTEN never comes back, a restart of the worker "fixes" it.
it('after a while in which every connection is refused changes are told at once again', async () => {
  await proxy.refuse();
  proxy.cut();
  const before = told();
  await here.change(DEMO.histories.alice);
  await eventually(async () => (await listeners()).length === 0, { within: 5_000 });
  await proxy.resume();
  await eventually(() => told() > before, { within: 25_000, what: 'the change that was made meanwhile' });
  await eventually(async () => (await listeners()).length === 1, { within: 10_000 });
  await changeIsTold(1_000);
}, 60_000);

// alash3al/redix#43: "terminating connection due to idle-session timeout" after some quiet minutes; a session that only listens is idle.
it('an idle_session_timeout does not end the LISTEN connection', async () => {
  const [before] = await listeners();
  const name = new URL(here.galaxy.database_connection as string).pathname.slice(1);
  await here.sql(`ALTER DATABASE ${name} SET idle_session_timeout = '300ms'`);
  await here.sql(`SELECT pg_terminate_backend(${before!.pid})`);
  const replaced = async () => (await listeners()).find(({ pid }) => pid !== before!.pid)?.pid;
  await eventually(async () => (await replaced()) !== undefined, { within: 5_000 });
  const first = await replaced();
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(await replaced()).toBe(first);
  await changeIsTold(1_000);
});
