import type { CountingMetrics } from '../../telemetry/counting-metrics.js';

/** The status of the components. `app/` passes the implementation; the routes only call it. */
export interface StatusSource {
  /** Problems that only a restart of this process solves; usually empty. */
  liveProblems(): string[];
  /**
   * One line for each reason why this worker accepts no new streams: an unfinished start, a stop. An unavailable
   * database or broker is not a reason: an accepted stream is caught up later, but a browser gives up a refused one.
   */
  readyProblems(): string[];
  /** All problems, including those: unavailable database or broker, no publishing monitor, a disabled stream. */
  problems(): string[];
  /** Equal in all processes of an installation, that is on one database; null before the database was reached. */
  installation(): string | null;
  status(): WorkerStatus;
  /** Prometheus text format 0.0.4. */
  prometheus(): string;
}

/**
 * `GET /api/status`. Moments are naive UTC ISO texts, durations have their unit in the name; null = not known (yet).
 */
export interface WorkerStatus {
  server: {
    name: string;
    hostname: string;
    pid: number;
    version: string;
    mode: 'standalone' | 'attached';
    started: string;
    uptime_seconds: number;
    draining: boolean;
  };
  /** All problems, as in `/wellz`. */
  problems: string[];
  /** `display` never contains a password. */
  database: { kind: string; display: string; problem: string | null; statements: number };
  bus: { kind: string; display: string; problem: string | null };
  monitor: {
    /** Whether this process is the elected monitor. */
    leads: boolean;
    /** Server name of the leader, from the last tick or heartbeat. */
    leader: string | null;
    /** The source of hints while this process leads: `listen`, `data_version`, `poll`. */
    source: string | null;
    cursor: string | null;
    cursor_age_ms: number | null;
  };
  /** The last tick that this worker received. */
  watermark: { until: string | null; age_ms: number | null };
  connections: { open: number; users: number; sessions: number; viewed_histories: number; limit: number };
  /** Counts of each hop since the start of this process. */
  flow: {
    changes_seen: number;
    tasks_published: number;
    tasks_skipped: number;
    tasks_received: number;
    tasks_invalid: number;
    events_queued: number;
    events_merged: number;
    events_written: number;
    /** By reason. */
    events_dropped: Record<string, number>;
    gaps_repaired: number;
    resumes: number;
  };
}

/** The `flow` of a worker, from the totals of its metrics. */
export function countFlow(metrics: CountingMetrics): WorkerStatus['flow'] {
  const dropped: Record<string, number> = {};
  for (const { name, tags, value } of metrics.totals()) {
    if (name !== 'galaxy.sse.events.dropped') continue;
    const reason = tags.reason ?? 'unknown';
    dropped[reason] = (dropped[reason] ?? 0) + value;
  }
  return {
    changes_seen: metrics.total('galaxy.sse.changes.seen'),
    tasks_published: metrics.total('galaxy.sse.dispatch.count'),
    tasks_skipped: metrics.total('galaxy.sse.dispatch.skipped_no_qw'),
    tasks_received: metrics.total('galaxy.sse.tasks.received'),
    tasks_invalid: metrics.total('galaxy.sse.tasks.invalid'),
    events_queued: metrics.total('galaxy.sse.events.queued'),
    events_merged: metrics.total('galaxy.sse.events.merged'),
    events_written: metrics.total('galaxy.sse.events.written'),
    events_dropped: dropped,
    gaps_repaired: metrics.total('galaxy.sse.gap.repaired'),
    resumes: metrics.total('galaxy.sse.resume.count'),
  };
}
