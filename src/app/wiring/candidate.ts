/** Composes the monitor and its election, for a worker and for a standalone monitor. */
import type { Bus } from '../../bus/port.js';
import type { SseConfig } from '../../config/config.js';
import { SqlChangeLog } from '../../database/change-log.js';
import type { HintListener, HintSource, PositionStore } from '../../database/port.js';
import { SqlPositionStore } from '../../database/position-store.js';
import { SqlWorkerProcesses } from '../../database/worker-processes.js';
import { CompositeRole } from '../../election/composite-role.js';
import { Leadership, lockLabel, silenceMs } from '../../election/leadership.js';
import type { AppType } from '../../election/rank.js';
import { HistoryAuditMonitor } from '../../monitor/history-audit-monitor.js';
import type { Metrics } from '../../telemetry/metrics.js';
import { SkippedRows } from '../../telemetry/skipped-rows.js';
import type { LeaderJobs } from './background-jobs.js';
import { type RuntimeContext, thisHost, type WatchedDatabase } from './infrastructure.js';

export interface Candidate {
  leadership: Leadership;
  monitor: HistoryAuditMonitor;
  /** For `/wellz`: no process leads, or the broker does not confirm what this leader publishes. */
  electionProblem(): string | undefined;
}

export function createCandidate(
  parts: {
    serverName: string;
    appType: AppType;
    config: SseConfig;
    database: WatchedDatabase;
    /** Default: the stored ones. */
    positions?: PositionStore;
    createHintSource: (listener: HintListener) => HintSource;
    bus: Bus;
    metrics: Metrics;
    /** The leader's other jobs; undefined beside a Galaxy. */
    backgroundJobs: LeaderJobs | undefined;
  },
  { logger, clock, random }: RuntimeContext,
): Candidate {
  const { serverName, appType, config, database, bus, metrics } = parts;
  const heartbeatMs = config.heartbeatSeconds * 1000;
  const self = { serverName, hostname: thisHost(), pid: process.pid, appType };
  const skippedRows = new SkippedRows({ logger: logger.child({ component: 'database' }), clock, metrics });
  const monitor = new HistoryAuditMonitor({
    changeLog: new SqlChangeLog(database, skippedRows.rows),
    positions: parts.positions ?? new SqlPositionStore(database),
    bus,
    createHintSource: (listener) => parts.createHintSource(alsoTelling(parts.backgroundJobs, listener)),
    // Unique, because a successor or another process of the same name counts its ticks from one again.
    leaderName: `${serverName}@${self.hostname}/${self.pid}.${clock.now()}`,
    debounceMs: config.debounceMs,
    clock,
    logger: logger.child({ component: 'monitor' }),
    metrics,
  });
  const leadership = new Leadership({
    self,
    workerProcesses: new SqlWorkerProcesses(database),
    lock: database.createLeaderLock('monitor', lockLabel(self), silenceMs(heartbeatMs)),
    heartbeatMs,
    role: new CompositeRole(parts.backgroundJobs ? [monitor, parts.backgroundJobs] : [monitor]),
    confirmedAt: () => monitor.confirmedAt,
    hindrance: () => (bus.available ? undefined : (bus.problem() ?? 'the broker is unavailable')),
    announce: () => bus.publish({ task: 'reconfigure_watcher' }),
    logger: logger.child({ component: 'election' }),
    metrics,
    clock,
    random,
  });
  bus.onAvailable(() => leadership.unhindered());
  return { leadership, monitor, electionProblem: () => leadership.problem() };
}

/** The monitor receives changed histories; the leader's background jobs receive every commit. */
function alsoTelling(backgroundJobs: LeaderJobs | undefined, monitor: HintListener): HintListener {
  if (!backgroundJobs) return monitor;
  return {
    onHistories: (historyIds) => monitor.onHistories(historyIds),
    onGap: (cause) => monitor.onGap(cause),
    onCommit: () => backgroundJobs.onCommit(),
  };
}
