/** Who is the monitor: the heartbeat rows say who should be, the lock says who is. */
import type { Config } from '../../config/config.js';
import { MICROS_PER_SECOND } from '../../core/time.js';
import type { WorkerProcessRow } from '../../database/port.js';
import { SqlWorkerProcesses } from '../../database/worker-processes.js';
import { lockLabel } from '../../election/leadership.js';
import { betterThan } from '../../election/rank.js';
import type { WatchedDatabase } from '../parts.js';
import { type Finding, note, ok, problem } from './finding.js';

/** The contract's window: a heartbeat older than this counts as dead. */
const ACTIVE_MS = 61_000;
/** So many late heartbeats, and the process is dead, frozen or cut off. */
const MISSED = 3;

export async function electionFinding(config: Config, db: WatchedDatabase): Promise<Finding> {
  const { attachToGalaxy, heartbeatSeconds, enabled } = config.sse;
  const { now, active } = await new SqlWorkerProcesses(db).active(ACTIVE_MS);
  const secondsSilent = (row: WorkerProcessRow): number => (now - row.updateTime) / MICROS_PER_SECOND;
  const isSilent = (row: WorkerProcessRow): boolean => secondsSilent(row) > MISSED * heartbeatSeconds;
  const describe = (row: WorkerProcessRow): string =>
    `${row.serverName}@${row.hostname}${isSilent(row) ? ` (silent for ${Math.round(secondsSilent(row))} s)` : ''}`;

  // Ranked against nobody: the first of all candidates should lead.
  const candidates = betterThan({ serverName: '', hostname: '', appType: 'webapp' }, active);
  const seen = `heartbeats: ${active.map(describe).join(', ')}`;
  if (candidates.every(isSilent)) {
    const text = active.length === 0 ? 'no process has sent a heartbeat in the last 61 s' : seen;
    return enabled ? note(`nobody is the monitor; ${text}; start "lightcone serve"`) : note(text);
  }
  // A file lock does not say whose it is, and asking would create it; there one process has all the roles.
  if (db.dialect === 'sqlite') return ok(`monitor: ${describe(candidates[0]!)}; ${seen}`);

  const lock = await db.createLeaderLock('monitor', '').holder();
  if (!lock.held) {
    if (attachToGalaxy) {
      return note(
        `monitor: ${describe(candidates[0]!)}, by its heartbeat only: Galaxy's own, or one of Lightcone's that has just died; start sse-monitor to have Lightcone's; ${seen}`,
      );
    }
    return problem(
      `nobody holds the role of the monitor; ${seen}; ask again in a few seconds, then look into their logs for "election"`,
    );
  }
  const leader = candidates.find((row) => lockLabel(row) === lock.label);
  if (!leader) {
    return problem(
      `the role of the monitor is held by a process without a heartbeat; ${seen}; ask again in a few seconds, then look for a frozen process`,
    );
  }
  if (isSilent(leader)) {
    return problem(
      `monitor: ${describe(leader)}: it is frozen or cut off; restart it (another process takes over); ${seen}`,
    );
  }
  return ok(`monitor: ${describe(leader)}; ${seen}`);
}
