/**
 * Fills a database with users, their API keys and histories, for measurements. With the environment of `settings.ts`:
 *
 *     node seed.js USERS
 */
import { createDatabase } from '../../src/app/wiring/infrastructure.js';
import type { Database } from '../../src/database/port.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger, type Logger } from '../../src/telemetry/logger.js';
import { configFromBenchEnvironment } from './settings.js';

const SESSION_KEY = '0123456789abcdef0123456789abcdef';
/** Of session 1, which belongs to user number 0; made with the default `id_secret`. */
export const SESSION_COOKIE =
  'galaxysession=c6ca0ddb55be603a55fe2f86156564e5ebb7ef842b6c3b8955fe2f86156564e5ebb7ef842b6c3b89';

/** User number `i` has the row id `i + 1`, the key `bench-<i>` and a history with the same id. */
async function seed(database: Database, users: number, logger: Logger): Promise<void> {
  await migrate(database, logger);
  if ((await database.all('SELECT 1 FROM galaxy_user LIMIT 1')).length > 0) return;
  const numbers =
    database.dialect === 'postgresql'
      ? 'generate_series(1, $1::int) AS n(i)'
      : '(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i FROM n) AS n';
  await database.transaction(async (tx) => {
    await tx.run(
      `INSERT INTO galaxy_user (id, email, password, external, deleted, purged, active)
       SELECT i, 'user' || i || '@example.org', '!', false, false, false, true FROM ${numbers}`,
      [users],
    );
    await tx.run(
      `INSERT INTO api_keys (create_time, user_id, key, deleted)
       SELECT '2026-01-01 00:00:00', i, 'bench-' || (i - 1), false FROM ${numbers}`,
      [users],
    );
    await tx.run(
      `INSERT INTO history (id, user_id, name, deleted, purged, importing, importable, published)
       SELECT i, i, 'bench', false, false, false, false, false FROM ${numbers}`,
      [users],
    );
    await tx.run(
      'INSERT INTO galaxy_session (id, user_id, session_key, is_valid, current_history_id) VALUES (1, 1, $1, true, 1)',
      [SESSION_KEY],
    );
  });
  // What seeding wrote to the audit table is no change that anybody waits for.
  await database.run('DELETE FROM history_audit');
}

if (process.argv[1] === import.meta.filename) {
  const logger = createLogger('warn');
  const config = configFromBenchEnvironment();
  const database = await createDatabase(config.database, { logger, clock: systemClock, random: Math.random });
  await database.start();
  await seed(database, Number(process.argv[2]), logger);
  await database.stop();
}
