/**
 * What a part may say of itself in numbers. Names are the contract's (section 6.1) and Lightcone's own under the same
 * prefix; every name used anywhere stands in `METRICS`, from which `docs/metrics.md` is checked.
 */
export type Tags = Readonly<Record<string, string>>;

export interface Metrics {
  increment(name: MetricName, value?: number, tags?: Tags): void;
  /** @param ms milliseconds */
  timing(name: MetricName, ms: number, tags?: Tags): void;
  gauge(name: MetricName, value: number, tags?: Tags): void;
}

export const METRICS = {
  'galaxy.sse.connections.active':
    'gauge; open streams of this worker; tag kind = broadcast (all) | per_user',
  'galaxy.sse.connections.dropped': 'counter; events discarded from a full tab queue; tag reason',
  'galaxy.sse.dispatch.count': 'counter; control tasks published; tag task',
  'galaxy.sse.dispatch.latency_ms': 'timing; publishing one control task, also when it failed; tag task',
  'galaxy.sse.dispatch.skipped_no_qw':
    'counter; control tasks that could not be published because the bus is away',
  'galaxy.sse.delivery.latency_ms': 'timing; from the audit time of a change to the write on the socket',
  'galaxy.sse.changes.seen': 'counter; changed histories that the monitor took in',
  'galaxy.sse.tasks.received': 'counter; control tasks that a worker received; tag task',
  'galaxy.sse.tasks.invalid': 'counter; messages on the bus that are not a valid control task; tag reason',
  'galaxy.sse.events.queued': 'counter; events put to tabs (one per tab); tag kind',
  'galaxy.sse.events.written': 'counter; events handed to sockets',
  'galaxy.sse.events.merged': 'counter; events merged into one that was still waiting in a tab queue',
  'galaxy.sse.connections.closed': 'counter; streams ended; tag reason',
  'galaxy.sse.connections.refused': 'counter; streams refused; tag reason',
  'galaxy.sse.resume.count': 'counter; catch-ups of tabs; tag source = memory | database | none, tag cause',
  'galaxy.sse.resume.invalid_cursor':
    'counter; Last-Event-ID that is unreadable or lies in the future; tag reason',
  'galaxy.sse.gap.count': 'counter; gaps of this worker that were repaired from the database; tag cause',
  'galaxy.sse.monitor.resync': 'counter; reads of changes since the cursor by the monitor; tag cause',
  'galaxy.sse.monitor.leader': 'gauge; 1 while this process is the elected monitor, else 0',
  'galaxy.sse.monitor.cursor_age_ms': 'gauge; how far the monitor cursor is behind the database clock',
  'galaxy.sse.watermark_age_ms': 'gauge; how far the watermark of this worker is behind its clock',
} as const;
export type MetricName = keyof typeof METRICS;

/** Costs nothing; used where no statsd is configured. */
export const noMetrics: Metrics = { increment() {}, timing() {}, gauge() {} };
