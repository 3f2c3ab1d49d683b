/** `lightcone doctor`: looks at every neighbour and says, one line each, whether it is as it must be and what to do. */
import { existsSync } from 'node:fs';
import type { Config } from '../config/config.js';
import { type Clock, systemClock } from '../core/clock.js';
import { MICROS_PER_SECOND } from '../core/time.js';
import { checkSchema } from '../database/schema.js';
import { SqlWorkerProcesses } from '../database/worker-processes.js';
import { betterThan } from '../election/rank.js';
import { CountingMetrics } from '../telemetry/memory.js';
import { noMetrics } from '../telemetry/metrics.js';
import { type AdminOptions, surroundings } from './admin.js';
import { createBus, createDatabase, type WatchedDatabase } from './parts.js';
import { startSoon } from './start-soon.js';

type Finding = { state: 'ok' | 'note' | 'problem'; text: string };

const ok = (text: string): Finding => ({ state: 'ok', text });
const note = (text: string): Finding => ({ state: 'note', text });
const problem = (text: string): Finding => ({ state: 'problem', text });

const PATIENCE_MS = 5_000;
/** The contract's window: a heartbeat older than this counts as dead. */
const ACTIVE_MS = 61_000;
const CLOCK_TOLERANCE_SECONDS = 1;

/** @returns true when there is no problem */
export async function doctor(config: Config, { logger, print }: AdminOptions): Promise<boolean> {
  let healthy = true;
  const quiet = logger.child({}, { level: 'silent' });
  const check = async (name: string, look: () => Promise<Finding>): Promise<boolean> => {
    const { state, text } = await look().catch((error: Error) => problem(error.message));
    print(`${state.padEnd(8)} ${name.padEnd(9)} ${text}`);
    if (state === 'problem') healthy = false;
    return state !== 'problem';
  };

  await check('settings', async () => settingsFinding(config));
  const db = createDatabase(config.database, surroundings(quiet));
  try {
    const reached = await check('database', async () => {
      if (config.database.kind === 'sqlite' && !existsSync(config.database.file)) {
        return problem(
          `${config.database.display} does not exist yet; run "lightcone migrate" or "lightcone serve"`,
        );
      }
      await startSoon(db, 'DATABASE_UNAVAILABLE', PATIENCE_MS);
      return ok(config.database.display);
    });
    if (reached && (await check('schema', () => schemaFinding(db)))) {
      await check('triggers', () => triggerFinding(db));
      if (db.dialect === 'postgresql') await check('listen', () => listenFinding(db));
      await check('election', () => electionFinding(config, db));
      await check('clock', () => clockFinding(db, systemClock));
    }
  } finally {
    await db.stop();
  }
  await check('broker', async () => {
    if (config.bus.kind === 'in-process') return ok('none; the bus lives inside the one process');
    const name = `${config.serverName}.doctor.${process.pid}`;
    const bus = createBus(config, name, new CountingMetrics(noMetrics), surroundings(quiet));
    await startSoon(bus, 'BUS_UNAVAILABLE', PATIENCE_MS);
    await bus.stop();
    return ok(config.bus.display);
  });
  return healthy;
}

function settingsFinding(config: Config): Finding {
  if (config.warnings.length > 0) return note(config.warnings.join('; '));
  if (!config.sse.enabled)
    return note('enable_sse_updates is off: the stream answers 403 and no monitor runs');
  return ok('valid');
}

async function schemaFinding(db: WatchedDatabase): Promise<Finding> {
  await checkSchema(db);
  return ok('all tables and columns are there');
}

/** The triggers are what sees a change; without NOTIFY in them PostgreSQL must be polled. */
async function triggerFinding(db: WatchedDatabase): Promise<Finding> {
  const tables = ['history', 'history_dataset_association', 'history_dataset_collection_association'];
  const rows = await db.all<{ name: string; notifies: unknown }>(
    db.dialect === 'sqlite'
      ? `SELECT tbl_name AS name, 1 AS notifies FROM sqlite_master
          WHERE type = 'trigger' AND sql LIKE '%history_audit%' AND ${db.isOneOf('tbl_name', 1)}`
      : `SELECT c.relname AS name, p.prosrc LIKE '%galaxy_history_update%' AS notifies
           FROM pg_trigger t
           JOIN pg_class c ON c.oid = t.tgrelid
           JOIN pg_proc p ON p.oid = t.tgfoid
          WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND p.prosrc LIKE '%history_audit%'
            AND ${db.isOneOf('c.relname', 1)}`,
    [db.list(tables)],
  );
  const incomplete = tables.filter((table) => rows.filter(({ name }) => name === table).length < 2);
  if (incomplete.length > 0) {
    return problem(
      `no triggers for INSERT and UPDATE on ${incomplete.join(', ')}: changes there are not seen; run "lightcone migrate" (beside a Galaxy: its manage_db.sh upgrade)`,
    );
  }
  if (rows.some(({ notifies }) => !notifies)) {
    return problem(
      "the triggers send no NOTIFY, so changes are seen by polling only; upgrade Galaxy's database to 26.1",
    );
  }
  return ok('all six are there');
}

/** A NOTIFY to itself: behind a pooler in transaction mode LISTEN is accepted, but nothing ever arrives. */
async function listenFinding(db: WatchedDatabase): Promise<Finding> {
  const source = db.createHintSource({ onHistories() {}, onGap() {} });
  try {
    await source.start(AbortSignal.timeout(PATIENCE_MS));
    await source.barrier();
    return ok('a NOTIFY comes back');
  } catch {
    return problem(
      'a NOTIFY does not come back; if a pooler such as PgBouncer stands between, give database_connection the direct address',
    );
  } finally {
    await source.stop();
  }
}

async function electionFinding(config: Config, db: WatchedDatabase): Promise<Finding> {
  const { active } = await new SqlWorkerProcesses(db).active(ACTIVE_MS);
  // Ranked against nobody: the first of all candidates should lead.
  const [leader] = betterThan({ serverName: '', hostname: '', appType: 'webapp' }, active);
  const names = active.map(({ serverName, hostname }) => `${serverName}@${hostname}`).join(', ');
  if (!leader) {
    const text = 'no process has sent a heartbeat in the last 61 s';
    return config.sse.enabled ? note(`${text}; start "lightcone serve"`) : note(text);
  }
  return ok(`monitor: ${leader.serverName}@${leader.hostname}; active: ${names}`);
}

async function clockFinding(db: WatchedDatabase, clock: Clock): Promise<Finding> {
  const before = clock.now();
  const theirs = await db.now();
  const middle = (before + clock.now()) / 2;
  const seconds = Math.abs(theirs - middle) / MICROS_PER_SECOND;
  const text = `this host and the database differ by ${seconds.toFixed(3)} s`;
  return seconds <= CLOCK_TOLERANCE_SECONDS ? ok(text) : problem(`${text}; set the clocks by NTP`);
}
