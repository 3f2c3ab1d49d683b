/** A worker's part in the cluster: publishes its own state, and shows administrators that of the others. */
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import type { ConnectionManager } from '../../connections/manager.js';
import { countWaiting } from '../../connections/tabs/open-streams.js';
import type { Gauges } from '../../core/notices.js';
import type { Clock } from '../../lib/clock.js';
import type { CountingMetrics } from '../../telemetry/counting-metrics.js';
import { Announcer } from '../cluster/announcer.js';
import { WorkerClusterSource } from '../cluster/cluster-source.js';
import type { WorkerStatusSource } from '../status.js';
import type { Candidate } from './candidate.js';
import { identityOf } from './infrastructure.js';

/** Interval of counting, which reads all tabs. */
const COUNT_EACH_SECONDS = 5;

export interface WorkerCluster {
  source: WorkerClusterSource;
  announcer: Announcer;
}

export function createWorkerCluster(parts: {
  config: Config;
  serverName: string;
  clock: Clock;
  bus: Bus;
  manager: ConnectionManager;
  metrics: CountingMetrics;
  status: WorkerStatusSource;
  candidate: () => Candidate | undefined;
  leaderName: () => string | undefined;
}): WorkerCluster {
  const { config, serverName, clock, bus, manager, metrics, status } = parts;
  const source = new WorkerClusterSource({ clock, bus, manager, key: () => announcer.key });
  let queues = { waiting: 0, blocked: 0 };
  let seconds = 0;
  const gauges = (): Gauges => {
    if (seconds % COUNT_EACH_SECONDS === 0) queues = countWaiting(manager.registry.all);
    seconds += 1;
    const now = manager.estimateNow();
    const age = (moment: number | undefined): number | null =>
      moment === undefined || now === undefined ? null : Math.max(0, Math.round((now - moment) / 1000));
    const leads = parts.candidate()?.leadership.leading === true;
    return {
      streams: manager.registry.all.length,
      users: manager.registry.userCount,
      sessions: manager.registry.sessionCount,
      limit: config.sse.maxConnections,
      ...queues,
      watermark_age_ms: age(manager.watermark),
      cursor_age_ms: (leads ? parts.candidate()?.monitor.cursorAgeMs : undefined) ?? null,
    };
  };
  const announcer = new Announcer({
    process: identityOf(config, serverName, 'worker'),
    bus,
    metrics,
    clock,
    state: () => ({
      ready: status.readyProblems().length === 0,
      problems: status.problems(),
      leader: parts.leaderName() ?? null,
      leads: parts.candidate()?.leadership.leading === true,
      gauges: gauges(),
    }),
    refusals: manager.refusals,
    onNotice: (notice) => source.onOwnNotice(notice),
  });
  return { source, announcer };
}
