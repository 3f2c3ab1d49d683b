/** The checks of `lightcone doctor` in the database itself. */
import type { Config } from '../../../config/config.js';
import { SilentListen } from '../../../database/postgres/listen-source.js';
import {
  checkSchema,
  hasTable,
  hiddenRows,
  openSchemas,
  pendingMigrations,
} from '../../../database/schema.js';
import type { Clock } from '../../../lib/clock.js';
import { MICROS_PER_SECOND } from '../../../lib/time.js';
import type { WatchedDatabase } from '../../wiring/infrastructure.js';
import { type Finding, note, ok, problem } from './finding.js';
import { notifyFault, versionOf } from './notify.js';

export const PATIENCE_MS = 5_000;
const CLOCK_TOLERANCE_SECONDS = 1;

export async function schemaFinding(config: Config, db: WatchedDatabase): Promise<Finding> {
  if (!config.sse.attachToGalaxy) {
    const pending = await pendingMigrations(db);
    if (pending.length > 0) {
      return problem(
        `not applied yet: ${pending.join(', ')}; run "lightcone migrate" (or start "lightcone serve")`,
      );
    }
    const hidden = await hiddenRows(db);
    if (hidden !== undefined) return problem(hidden);
    return unlessOpen(db, 'every migration is applied');
  }
  await checkSchema(db);
  const hidden = await hiddenRows(db);
  if (hidden !== undefined) return problem(hidden);
  if (await hasTable(db, 'lightcone_migration')) {
    return note(
      'attach_to_galaxy is set, but Lightcone itself made these tables; check that database_connection is that of Galaxy',
    );
  }
  if (!(await hasTable(db, 'lightcone_position'))) {
    return note(
      'table lightcone_position is missing: the first start of sse-monitor creates it if the database user may; ' +
        'without it, changes made while no monitor runs are not delivered (docs/beside-a-galaxy.md has the statement)',
    );
  }
  return unlessOpen(db, "Galaxy's tables and columns are there");
}

async function unlessOpen(db: WatchedDatabase, text: string): Promise<Finding> {
  const open = await openSchemas(db);
  return open === undefined ? ok(text) : note(`${text}; ${open}`);
}

/** The triggers record changes. Without NOTIFY in them, PostgreSQL must be polled. */
export async function triggerFinding(
  db: WatchedDatabase,
  { attached }: { attached: boolean },
): Promise<Finding> {
  const tables = ['history', 'history_dataset_association', 'history_dataset_collection_association'];
  const rows = await db.all<{ name: string; on_insert: unknown; on_update: unknown; notifies: unknown }>(
    db.dialect === 'sqlite'
      ? `SELECT tbl_name AS name, sql LIKE '%AFTER INSERT%' AS on_insert, sql LIKE '%AFTER UPDATE%' AS on_update, 1 AS notifies
           FROM sqlite_master
          WHERE type = 'trigger' AND sql LIKE '%history_audit%' AND ${db.isOneOf('tbl_name', 1)}`
      : `SELECT c.relname AS name, t.tgtype & 4 AS on_insert, t.tgtype & 16 AS on_update,
                p.prosrc LIKE '%galaxy_history_update%' AS notifies
           FROM pg_trigger t
           JOIN pg_class c ON c.oid = t.tgrelid
           JOIN pg_proc p ON p.oid = t.tgfoid
          WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND p.prosrc LIKE '%history_audit%'
            AND ${db.isOneOf('c.relname', 1)}`,
    [db.list(tables)],
  );
  const missing = tables.flatMap((table) => [
    ...(rows.some(({ name, on_insert }) => name === table && on_insert) ? [] : [`INSERT on ${table}`]),
    ...(rows.some(({ name, on_update }) => name === table && on_update) ? [] : [`UPDATE on ${table}`]),
  ]);
  if (missing.length > 0) {
    return problem(
      `no trigger for ${missing.join(', ')}: such changes are not seen; ${
        attached
          ? "enable it where it is disabled (ALTER TABLE … ENABLE TRIGGER …), or run Galaxy's manage_db.sh upgrade"
          : 'run "lightcone migrate", which creates and enables missing triggers'
      }`,
    );
  }
  if (rows.some(({ notifies }) => !notifies)) {
    return note(
      'they send no NOTIFY, so the audit table is polled every history_audit_monitor_poll_interval; upgrade the database to that of Galaxy 26.1',
    );
  }
  return ok('all six are there');
}

/** Sends a NOTIFY to itself: behind a pooler in transaction mode LISTEN is accepted, but nothing ever arrives. */
export async function listenFinding(db: WatchedDatabase): Promise<Finding> {
  const source = db.createHintSource({ onHistories() {}, onGap() {} });
  try {
    await source.start(AbortSignal.timeout(PATIENCE_MS));
    await source.barrier();
    const fault = notifyFault(await versionOf(db));
    return fault === undefined ? ok('a NOTIFY comes back') : note(`a NOTIFY comes back; ${fault}`);
  } catch (error) {
    const seen = (error as Error).message;
    // Accepted, connected, and silent: a pooler in transaction mode.
    return problem(
      error instanceof SilentListen
        ? 'LISTEN is accepted, but a NOTIFY does not come back; behind a pooler such as PgBouncer, set database_connection to the direct address'
        : `a NOTIFY cannot be tried: ${seen}`,
    );
  } finally {
    await source.stop();
  }
}

export async function clockFinding(db: WatchedDatabase, clock: Clock): Promise<Finding> {
  const before = clock.now();
  const theirs = await db.now();
  const middle = (before + clock.now()) / 2;
  const seconds = (theirs - middle) / MICROS_PER_SECOND;
  const apart = Math.abs(seconds);
  if (apart <= CLOCK_TOLERANCE_SECONDS) return ok(`the database's differs by ${apart.toFixed(3)} s`);
  return problem(
    `the database's is ${apart.toFixed(1)} s ${seconds > 0 ? 'ahead of' : 'behind'} this host's; synchronize both by NTP`,
  );
}
