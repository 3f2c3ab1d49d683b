/** Beside a Galaxy, as a database user who may read everything and write nothing but heartbeats. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GALAXY_TABLES } from '../support/galaxy-tables.js';
import { Installation } from '../support/installation.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const KEY = '0123456789abcdef0123456789abcdef';
const SESSION = 'fedcba9876543210fedcba9876543210';
let here: Installation;
let galaxy: TestDatabase;
let role: string;

beforeEach(async () => {
  role = `sse_${randomUUID().slice(0, 8)}`;
  [here, galaxy] = await Promise.all([Installation.production(), createTestDatabase()]);
  await galaxy.psql(`${GALAXY_TABLES}
    INSERT INTO galaxy_user (email, password, active) VALUES ('alice@example.org', '', true);
    INSERT INTO api_keys (user_id, key, create_time) VALUES (1, '${KEY}', now());
    INSERT INTO history (user_id, name) VALUES (1, 'hers');`);
}, 120_000);
afterEach(async () => {
  await here.close();
  await galaxy.psql(`DROP OWNED BY ${role}`);
  await galaxy.drop();
});

it('a change is told, the own cursor table is asked for once, and nothing else is written', async () => {
  await galaxy.psql(`
    CREATE ROLE ${role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role};
    GRANT INSERT, UPDATE, DELETE ON worker_process TO ${role}; GRANT USAGE ON worker_process_id_seq TO ${role};`);
  const url = new URL(galaxy.url);
  url.username = role;
  const settings = {
    galaxy: { database_connection: url.href },
    sse: { attach_to_galaxy: true },
  };
  const serve = here.process(['serve'], settings);
  const monitor = here.process(['monitor'], settings);
  await monitor.line('monitor caught up: it publishes the changes since its cursor');
  const stream = await here.stream(await serve.address(), `key=${KEY}`);
  await galaxy.psql("UPDATE history SET name = 'changed' WHERE id = 1");
  await stream.waitForHistory(here.encode(1), { within: 10_000 });

  const complaints = [...serve.lines, ...monitor.lines].filter(({ msg }) =>
    msg.includes('lightcone_position'),
  );
  expect(complaints).toMatchObject([{ reason: 'permission denied for schema public' }]);
  expect((await galaxy.psql('SELECT app_type FROM worker_process')).map((row) => row.app_type)).toEqual([
    'sse_monitor',
  ]);
  await monitor.stop();
  expect(await galaxy.psql('SELECT * FROM worker_process')).toEqual([]);
});

it('everything works with exactly the rights that docs/beside-a-galaxy.md grants', {
  timeout: 60_000,
}, async () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../docs/beside-a-galaxy.md'), 'utf8');
  const grants = / {3}```sql\n(.*?)```/s.exec(page)![1]!;
  await galaxy.psql(grants.replace(/\b(ROLE|TO) lightcone\b/g, `$1 ${role}`));
  await galaxy.psql(`
    INSERT INTO galaxy_user (email, password, active) VALUES ('bob@example.org', '', true);
    INSERT INTO history (user_id, name, published) VALUES (2, 'his', true);
    INSERT INTO history (name) VALUES ('nobody''s');
    INSERT INTO galaxy_session (session_key, is_valid, current_history_id) VALUES ('${SESSION}', true, 3);
    INSERT INTO galaxy_session_to_history (session_id, history_id) VALUES (1, 3);
    INSERT INTO job (user_id, state) VALUES (1, 'running');`);
  const url = new URL(galaxy.url);
  url.username = role;
  const settings = {
    galaxy: {
      database_connection: url.href,
      enable_notification_system: true,
      interactivetools_enable: true,
    },
    sse: { attach_to_galaxy: true, recent_window: 0 },
  };
  const rowClock = async (): Promise<string | undefined> => {
    const doctor = here.process(['doctor'], settings);
    await doctor.exited;
    return /^\S+ +rows .*$/m.exec(doctor.stdout)?.[0];
  };
  const missing = await rowClock();
  expect(missing).toContain('GRANT SELECT (history_id, update_time, xmin) ON history_dataset_association');
  await galaxy.psql(`${/GRANT .* ON history_dataset_association/.exec(missing!)![0]} TO ${role};
    INSERT INTO history_dataset_association (history_id, name, update_time)
      VALUES (1, 'd', clock_timestamp() AT TIME ZONE 'UTC' - interval '2 s')`);
  expect(await rowClock()).toMatch(/they are stamped 2\.\d+ s behind the database's clock \(median of 1\)/);
  const serve = here.process(['serve'], settings);
  const monitor = here.process(['monitor'], settings);
  await monitor.line('monitor caught up: it publishes the changes since its cursor');
  const address = await serve.address();
  // As user with a watched history of another, and as anonymous session.
  const stream = await here.stream(address, `key=${KEY}&history_id=${here.encode(2)}`);
  const cookie = `galaxysession=${here.ids.encodeSessionKey(SESSION)}`;
  const anonymous = await here.stream(address, '', { headers: { cookie } });
  const { lastEventId } = stream;
  await galaxy.psql("UPDATE history SET name = 'changed'");
  await stream.waitForHistory(here.encode(1), { within: 10_000 });
  await stream.waitForHistory(here.encode(2), { within: 10_000 });
  await anonymous.waitForHistory(here.encode(3), { within: 10_000 });
  stream.close();

  await galaxy.psql(
    `INSERT INTO galaxy_session (session_key, is_valid, user_id) VALUES ('${SESSION.replace(/^./, (digit) => (digit === 'a' ? 'b' : 'a'))}', true, 2)`,
  );
  const tail = here.process(['tail', '--user', 'bob@example.org'], {
    ...settings,
    sse: { ...settings.sse, listen: new URL(address).host },
  });
  await expect
    .poll(() => tail.stdout + tail.stderr, { timeout: 10_000 })
    .toMatch(/by the newest session[\s\S]*ready|ready[\s\S]*by the newest session/);

  await galaxy.psql(`
    INSERT INTO user_preference (user_id, name, value) VALUES (1, 'notifications', '{}');
    INSERT INTO notification (create_time, update_time, publication_time, expiration_time, source, category, variant, dispatched, content)
      SELECT n, n, n, n + interval '1 day', 'test', 'message', 'info', true, '{"subject":"s","message":"m"}'
        FROM (SELECT now() AT TIME ZONE 'UTC' AS n) t;
    INSERT INTO user_notification_association (user_id, notification_id, deleted, update_time)
      VALUES (1, 1, false, now() AT TIME ZONE 'UTC');
    INSERT INTO interactivetool_entry_point (job_id, token, created_time, modified_time)
      SELECT 1, 't', n, n FROM (SELECT now() AT TIME ZONE 'UTC' AS n) t;`);
  const again = await here.stream(address, `key=${KEY}`, { lastEventId: lastEventId! });
  const status = await again.waitFor(({ event }) => event === 'notification_status');
  expect(JSON.parse(status.data!)).toMatchObject({
    total_unread_count: 1,
    notifications: [{ id: here.encode(1) }],
  });
  await again.waitForHistory(here.encode(1));
  await again.waitFor(({ event }) => event === 'entry_point_update');

  expect((await galaxy.psql('SELECT count(*)::int AS n FROM lightcone_position'))[0]!.n).toBeGreaterThan(0);
  const denied = [...serve.lines, ...monitor.lines].filter((line) =>
    /permission denied/.test(JSON.stringify(line)),
  );
  expect(denied).toEqual([]);
});

it("Galaxy's own monitor beside ours is named by doctor, since events come twice", {
  timeout: 60_000,
}, async () => {
  await galaxy.psql(`CREATE ROLE ${role}`);
  const settings = { galaxy: { database_connection: galaxy.url }, sse: { attach_to_galaxy: true } };
  const monitor = here.process(['monitor'], settings);
  await monitor.line('monitor caught up: it publishes the changes since its cursor');
  const election = async () => {
    const doctor = here.process(['doctor'], settings);
    await doctor.exited;
    return /^\S+ +election .*$/m.exec(doctor.stdout)?.[0];
  };
  expect(await election()).toMatch(/^ok +election +monitor: process/);

  // As Galaxy's does: a connection of its own that listens, and tasks of its own.
  const theirs = new pg.Client({ connectionString: galaxy.url });
  await theirs.connect();
  try {
    await theirs.query('LISTEN galaxy_history_update');
    expect(await election()).toMatch(
      /^problem +election +two monitors publish changes, so events come twice: .*sse_monitor\./,
    );
  } finally {
    await theirs.end();
  }
  expect(await election()).toMatch(/^ok +election +/);
});
