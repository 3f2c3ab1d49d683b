import type { CountingMetrics } from '../../telemetry/counting-metrics.js';

/**
 * What the parts tell of themselves. `app/` passes the implementation; the routes only ask.
 */
export interface StatusSource {
  /** What will not mend itself, so that this process should be replaced; usually empty. */
  liveProblems(): string[];
  /**
   * One line each for what keeps this worker from taking new streams: a start that is not finished, a stop that has begun.
   * A neighbour that is away is none: a stream that is taken tells everything as soon as it is back, one that is refused is
   * given up by the browser.
   */
  readyProblems(): string[];
  /** All that is wrong, those included: neighbours that are away, nobody who publishes, a stream that is switched off. */
  problems(): string[];
  /** The same in all processes of one installation, that is on one database; null before the database was reached. */
  installation(): string | null;
  status(): WorkerStatus;
  /** Prometheus text format 0.0.4. */
  prometheus(): string;
}

/** `GET /api/status`. Moments are naive UTC ISO texts, durations have their unit in the name; null = not known (yet). */
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
  /** All that is wrong, as `/wellz` says it. */
  problems: string[];
  /** `display` never holds a password. */
  database: { kind: string; display: string; problem: string | null; statements: number };
  bus: { kind: string; display: string; problem: string | null };
  monitor: {
    /** This process is the elected monitor. */
    leads: boolean;
    /** Server name of the leader, as the last tick or heartbeat told it. */
    leader: string | null;
    /** How this process learns of changes while it leads: `listen`, `data_version`, `poll`. */
    source: string | null;
    cursor: string | null;
    cursor_age_ms: number | null;
  };
  /** The last tick this worker received. */
  watermark: { until: string | null; age_ms: number | null };
  connections: { open: number; users: number; sessions: number; viewed_histories: number; limit: number };
  /** The way of an update, hop by hop, counted since the start of this process. */
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

/** The `flow` of a worker, from the totals that its metrics keep. */
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
    gaps_repaired: metrics.total('galaxy.sse.gap.count'),
    resumes: metrics.total('galaxy.sse.resume.count'),
  };
}
