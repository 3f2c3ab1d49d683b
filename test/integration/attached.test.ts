/** Beside a Galaxy, as a database user who may read everything and write nothing but heartbeats. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GALAXY_TABLES } from '../support/galaxy-tables.js';
import { Installation } from '../support/installation.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const KEY = '0123456789abcdef0123456789abcdef';
let here: Installation;
let galaxy: TestDatabase;
let role: string;

beforeEach(async () => {
  role = `sse_${randomUUID().slice(0, 8)}`;
  [here, galaxy] = await Promise.all([Installation.production(), createTestDatabase()]);
  await galaxy.psql(`${GALAXY_TABLES}
    CREATE ROLE ${role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role};
    GRANT INSERT, UPDATE, DELETE ON worker_process TO ${role}; GRANT USAGE ON worker_process_id_seq TO ${role};
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
  const url = new URL(galaxy.url);
  url.username = role;
  const settings = {
    galaxy: { database_connection: url.href },
    sse: { attach_to_galaxy: true },
  };
  const serve = here.process(['serve'], settings);
  const monitor = here.process(['monitor'], settings);
  await monitor.line('changes since the cursor were read');
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
