/** What other people's services met when the passwords that they use are changed while they run. Each test names its report. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { createTestDatabase, type Postgres, startPostgres, type TestDatabase } from '../support/postgres.js';
import { readiness } from '../support/processes.js';
import { type Rabbit, startRabbit } from '../support/rabbitmq.js';
import { createVhost, type Vhost } from '../support/rabbitmq-vhost.js';
import type { SseClient } from '../support/sse-client.js';

const { alice } = DEMO.histories;
let folder: string;
let postgres: Postgres;
let rabbit: Rabbit;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-rotated-'));
  await chmod(folder, 0o755);
  const hba = join(folder, 'hba.conf');
  writeFileSync(hba, 'host all rotated all scram-sha-256\nhost all all all trust\nlocal all all trust\n', {
    mode: 0o644,
  });
  [postgres, rabbit] = await Promise.all([startPostgres({ settings: [`hba_file=${hba}`] }), startRabbit()]);
}, 120_000);
afterAll(async () => {
  await Promise.all([postgres?.stop(), rabbit?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

let here: Installation;
let database: TestDatabase | undefined;
let vhost: Vhost | undefined;
let service: RunningWorker;
let stream: SseClient;
afterEach(async () => {
  await here.stopWorkers();
  await database?.drop();
  await vhost?.delete();
  database = undefined;
  vhost = undefined;
  await here.close();
});

const said = (text: RegExp) => service.lines.some((line) => text.test(JSON.stringify(line)));
async function told(change: () => Promise<unknown>, within: number): Promise<void> {
  const from = stream.frames.length;
  await change();
  await stream.waitForHistory(here.encode(alice), { from, within });
}

const passwords = () => join(folder, 'pgpass');
const inFile = (password: string) =>
  writeFileSync(passwords(), `*:*:*:rotated:${password}\n`, { mode: 0o600 });
const inDatabase = (password: string) => database!.psql(`ALTER ROLE rotated PASSWORD '${password}'`);
/** As a fail-over or the end of a lease does. */
const endSessions = () =>
  database!.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated'");
const change = () => database!.psql(`UPDATE history SET name = name || '.' WHERE id = ${alice}`);

async function withPasswordFile(): Promise<void> {
  here = await Installation.production();
  database = await createTestDatabase(postgres);
  const name = new URL(database.url).pathname.slice(1);
  await database.psql(
    `DO $$ BEGIN CREATE ROLE rotated LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
     ALTER DATABASE ${name} OWNER TO rotated; ALTER SCHEMA public OWNER TO rotated`,
  );
  await inDatabase('one');
  inFile('one');
  const url = new URL(database.url);
  url.username = 'rotated';
  url.searchParams.set('passfile', passwords());
  service = await here.worker({ galaxy: { database_connection: url.href } });
  stream = await here.stream(service.url);
  await told(change, 5_000);
}

// FusionAuth/fusionauth-issues#1235, brettwooldridge/HikariCP#357: the new password stands where it belongs, and is found after a restart only.
it('a database password that is changed in the password file is used from the next connection on', async () => {
  await withPasswordFile();
  await inDatabase('two');
  inFile('two');
  await endSessions();
  await told(change, 15_000);
  expect(stream.opened).toBe(1);
});

// hashicorp/vault#21435: the database has the new password, the program has not, and "password authentication failed" follows for ever.
it('a database password that nobody told us is named in the log, streams stay open, and once it is told all goes on', async () => {
  await withPasswordFile();
  await inDatabase('two');
  await endSessions();
  await eventually(() => said(/password authentication failed/), {
    within: 15_000,
    what: 'a line that says why',
  });
  expect((await readiness(service.url)).problems.join()).toMatch(/password authentication failed/);
  await told(async () => {
    await change();
    inFile('two');
  }, 30_000);
  expect(stream.opened).toBe(1);
}, 60_000);

async function withBrokerUser(): Promise<void> {
  here = await Installation.production();
  vhost = await createVhost(rabbit);
  await addUser('one');
  const url = new URL(vhost.amqpUrl);
  url.username = 'rotated';
  url.password = 'one';
  service = await here.worker({ galaxy: { amqp_internal_connection: url.href } });
  stream = await here.stream(service.url);
  await told(() => here.change(alice), 5_000);
}
async function addUser(password: string): Promise<void> {
  await rabbit
    .ctl('add_user', 'rotated', password)
    .catch(() => rabbit.ctl('change_password', 'rotated', password));
  await rabbit.ctl('set_permissions', '--vhost', vhost!.name, 'rotated', '.*', '.*', '.*');
}
const refused = () =>
  eventually(() => said(/refuses the user or the password/), {
    within: 20_000,
    what: 'a line that says why',
  });

// MassTransit/MassTransit#6172: the user is deleted and made anew, as rotations do; the connection never comes back.
it('a broker user that is deleted and made anew costs no event and no restart', async () => {
  await withBrokerUser();
  await rabbit.ctl('delete_user', 'rotated');
  await vhost!.closeConnections();
  await refused();
  await told(async () => {
    await here.change(alice);
    await addUser('one');
  }, 60_000);
  expect(stream.opened).toBe(1);
}, 120_000);

// rabbitmq/rabbitmq-java-client#350, linagora/james-project#3971: the broker's password is changed, and the next connect fails, and all after it.
it('a broker password that nobody told us is named in the log and at /wellz, and once it fits again all goes on', async () => {
  await withBrokerUser();
  await rabbit.ctl('change_password', 'rotated', 'two');
  await rabbit.ctl('close_all_user_connections', 'rotated', 'its password was changed');
  await refused();
  expect((await readiness(service.url)).problems.join()).toMatch(/refuses the user or the password/);
  await told(async () => {
    await here.change(alice);
    await rabbit.ctl('change_password', 'rotated', 'one');
  }, 60_000);
  expect(stream.opened).toBe(1);
}, 120_000);
