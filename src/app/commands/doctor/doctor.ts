/** `lightcone doctor`: checks settings, database, broker and workers, and prints one line for each, with advice. */
import { existsSync } from 'node:fs';
import type { Config } from '../../../config/config.js';
import { systemClock } from '../../../lib/clock.js';
import { CountingMetrics } from '../../../telemetry/counting-metrics.js';
import { noMetrics } from '../../../telemetry/metrics.js';
import { startSoon } from '../../processes/start-soon.js';
import { createBus, createDatabase } from '../../wiring/infrastructure.js';
import { installationOf } from '../../wiring/installation.js';
import { type AdminOptions, runtime } from '../admin.js';
import { clockFinding, listenFinding, PATIENCE_MS, schemaFinding, triggerFinding } from './database.js';
import { electionFinding } from './election.js';
import { type Finding, note, ok, problem } from './finding.js';
import { commitFinding } from './notify.js';
import { probeFinding } from './probe.js';
import { rowClockFinding } from './row-clock.js';
import { workerFinding } from './worker.js';

/**
 * @param settingsFile undefined for the embedded defaults
 * @param options.probe also makes a change and follows it; `interruptible` is called before its first row is written
 * @returns true if there is no problem
 */
export async function doctor(
  config: Config,
  settingsFile: string | undefined,
  { logger, print, probe }: AdminOptions & { probe: { interruptible: () => AbortSignal } | undefined },
): Promise<boolean> {
  let healthy = true;
  let installation: string | undefined;
  const quiet = logger.child({}, { level: 'silent' });
  const check = async (name: string, look: () => Promise<Finding>): Promise<boolean> => {
    const { state, text } = await look().catch((error: Error) => problem(error.message));
    // Messages of the database and the broker start with their name.
    const said = text.startsWith(`${name} `) ? text.slice(name.length + 1) : text;
    print(`${state.padEnd(8)} ${name.padEnd(9)} ${said}`);
    if (state === 'problem') healthy = false;
    return state !== 'problem';
  };

  await check('settings', async () => settingsFinding(config, settingsFile));
  const db = await createDatabase(config.database, runtime(quiet));
  try {
    const reached = await check('database', async () => {
      if (config.database.kind === 'sqlite' && !existsSync(config.database.file)) {
        return problem(
          `${config.database.display} does not exist yet; run "lightcone migrate" or "lightcone serve", or name the settings file with --config`,
        );
      }
      await startSoon(db, 'DATABASE_UNAVAILABLE', PATIENCE_MS);
      installation = await installationOf(db);
      return ok(config.database.display);
    });
    const ready = reached && (await check('schema', () => schemaFinding(config, db)));
    if (ready) {
      await check('triggers', () => triggerFinding(db, { attached: config.sse.attachToGalaxy }));
      if (db.dialect === 'postgresql') {
        await check('listen', () => listenFinding(db));
        await check('commits', () => commitFinding(db));
      }
      await check('election', () => electionFinding(config, db));
      await check('clock', () => clockFinding(db, systemClock));
      await check('rows', () => rowClockFinding(db, config.sse.rowClockSeconds));
    }
    await check('broker', () => brokerFinding(config));
    await check('worker', () => workerFinding(config.http, installation));
    if (probe) {
      await check('probe', async () =>
        ready
          ? probeFinding(config, db, runtime(quiet), probe.interruptible)
          : problem('skipped: see the database or its schema'),
      );
    }
  } finally {
    await db.stop();
  }
  return healthy;

  async function brokerFinding({ bus: { kind, display }, serverName }: Config): Promise<Finding> {
    if (kind === 'in-process') return ok('none; the bus is in-process');
    const name = `${serverName}.doctor.${process.pid}`;
    const bus = await createBus(config, name, new CountingMetrics(noMetrics), runtime(quiet));
    await startSoon(bus, 'BUS_UNAVAILABLE', PATIENCE_MS);
    await bus.stop();
    return ok(display);
  }
}

function settingsFinding(config: Config, file: string | undefined): Finding {
  const from = file ?? 'no settings file: the embedded defaults';
  if (config.warnings.length > 0) return note(config.warnings.join('; '));
  if (!config.sse.enabled) {
    return note(`${from}; enable_sse_updates is off: the stream answers 403 and no monitor runs`);
  }
  return ok(from);
}
