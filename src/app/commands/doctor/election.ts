/** Finds the monitor: the holder of the lock. The heartbeat rows show the other candidates. */
import type { Config } from '../../../config/config.js';
import type { WorkerProcessRow } from '../../../database/port.js';
import { SqlWorkerProcesses } from '../../../database/worker-processes.js';
import { MICROS_PER_SECOND } from '../../../lib/time.js';
import type { WatchedDatabase } from '../../wiring/infrastructure.js';
import { otherMonitors } from '../../wiring/other-monitors.js';
import { type Finding, note, ok, problem } from './finding.js';

/** A heartbeat older than this counts as dead (contract, section 2). */
const ACTIVE_MS = 61_000;
/** After this many missed heartbeats the process is dead, frozen or disconnected. */
const MISSED = 3;

export async function electionFinding(config: Config, db: WatchedDatabase): Promise<Finding> {
  const { attachToGalaxy, heartbeatSeconds, enabled } = config.sse;
  const { now, active } = await new SqlWorkerProcesses(db).active(ACTIVE_MS);
  const secondsSilent = (row: WorkerProcessRow): number => (now - row.updateTime) / MICROS_PER_SECOND;
  const isSilent = (row: WorkerProcessRow): boolean => secondsSilent(row) > MISSED * heartbeatSeconds;
  const describe = (row: WorkerProcessRow): string =>
    `${row.serverName}@${row.hostname}${isSilent(row) ? ` (silent for ${Math.round(secondsSilent(row))} s)` : ''}`;
  const candidates = active.filter(({ appType }) => appType === 'webapp' || appType === 'sse_monitor');
  const seen =
    candidates.length === 0
      ? 'no process that could be the monitor has sent a heartbeat in the last 61 s'
      : `heartbeats: ${candidates.map(describe).join(', ')}`;

  const lock = await db.createLeaderLock('monitor', '').holder();
  if (lock.held && lock.stranger !== undefined) {
    const { pid, account } = lock.stranger;
    return problem(
      `nobody can be the monitor, so no change is delivered: the database session ${pid} of the account ${account} holds its lock and is not Lightcone; end it (SELECT pg_terminate_backend(${pid})), and let only Galaxy and Lightcone connect to this database (docs/security.md, In the database); ${seen}`,
    );
  }
  if (lock.held && attachToGalaxy) {
    const others = await otherMonitors(db);
    if (others.length > 0) {
      return problem(
        `two monitors publish changes, so events come twice: Lightcone's (process ${lock.label ?? 'unknown'}), and ${others.join(', ')}, which listens to galaxy_history_update; stop one of them (docs/beside-a-galaxy.md, Who watches); ${seen}`,
      );
    }
  }
  if (lock.held) return ok(`monitor: process ${lock.label ?? 'unknown (an older version)'}; ${seen}`);
  if (candidates.every(isSilent)) {
    return enabled ? note(`no process is the monitor; ${seen}; start "lightcone serve"`) : note(seen);
  }
  if (attachToGalaxy) {
    const names = candidates.filter((row) => !isSilent(row)).map(describe);
    return note(
      `monitor: Galaxy's own, by its heartbeat (one of ${names.join(', ')}), or none: no sse-monitor of Lightcone leads; start one, or search its log for "election"`,
    );
  }
  return problem(
    `no process is the monitor, so no change is delivered; ${seen}; check again in a few seconds; does the broker work (below)? Otherwise see /wellz, and search the logs of these processes for "election"`,
  );
}
