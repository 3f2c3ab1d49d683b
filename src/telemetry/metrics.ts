/**
 * The catalogue of metrics. The compiler checks every sender against `METRICS`, and `docs/metrics.md` is made from it.
 * Names come from Galaxy (contract, section 6.1) or share its prefix.
 */
export type MetricType = 'counter' | 'timing' | 'gauge';
export type Tags = Readonly<Record<string, string>>;

/** A tag with this value takes any text, such as a server name. Every other tag lists its values. */
const TEXT = 'text';

interface MetricSpec {
  type: MetricType;
  meaning: string;
  /** The process that sends it. */
  from: 'worker' | 'monitor' | 'publisher';
  tags?: Readonly<Record<string, readonly string[] | typeof TEXT>>;
}

export const METRICS = {
  'galaxy.sse.connections.active': {
    type: 'gauge',
    meaning:
      'open streams of this worker; `broadcast` counts all streams, `per_user` those of signed-in users; requires `enable_sse_connection_metrics`',
    from: 'worker',
    tags: { kind: ['broadcast', 'per_user'], server_name: TEXT },
  },
  'galaxy.sse.connections.dropped': {
    type: 'counter',
    meaning: 'events dropped because the queue of their tab was full; a catch-up of the tab follows',
    from: 'worker',
    tags: { reason: ['queue_full'] },
  },
  'galaxy.sse.dispatch.count': {
    type: 'counter',
    meaning: 'control tasks published',
    from: 'publisher',
    tags: { task: TEXT },
  },
  'galaxy.sse.dispatch.latency_ms': {
    type: 'timing',
    meaning: 'time to publish one control task, including failed attempts',
    from: 'publisher',
    tags: { task: TEXT },
  },
  'galaxy.sse.dispatch.skipped_no_qw': {
    type: 'counter',
    meaning: 'control tasks not published because the bus was unavailable',
    from: 'publisher',
  },
  'galaxy.sse.dispatch.unrouted': {
    type: 'counter',
    meaning: 'control tasks that the broker accepted without a bound queue; no worker was connected',
    from: 'publisher',
    tags: { task: TEXT },
  },
  'galaxy.sse.delivery.latency_ms': {
    type: 'timing',
    meaning: 'time from the audit time of a change to its write to the socket',
    from: 'worker',
  },
  'galaxy.sse.changes.seen': {
    type: 'counter',
    meaning: 'changed histories that the monitor read',
    from: 'monitor',
  },
  'galaxy.sse.tasks.received': {
    type: 'counter',
    meaning: 'control tasks that a worker received',
    from: 'worker',
    tags: { task: TEXT },
  },
  'galaxy.sse.tasks.invalid': {
    type: 'counter',
    meaning: 'invalid messages on the bus (control tasks, ticks and notices), which the worker ignored',
    from: 'worker',
    tags: {
      reason: [
        'not_json',
        'not_object',
        'unknown_task',
        'malformed',
        'content_type',
        'misdirected',
        'malformed_tick',
        'forged_tick',
        'tick_ahead',
        'malformed_notice',
        'forged_notice',
        'stale_notice',
      ],
    },
  },
  'galaxy.sse.events.queued': {
    type: 'counter',
    meaning: 'events queued, counted once per tab; equals written + merged + dropped + waiting',
    from: 'worker',
    tags: { kind: TEXT },
  },
  'galaxy.sse.events.written': {
    type: 'counter',
    meaning: 'queued events written to sockets',
    from: 'worker',
    tags: { kind: TEXT },
  },
  'galaxy.sse.events.merged': {
    type: 'counter',
    meaning: 'queued events merged into an event that waited in the same queue',
    from: 'worker',
    tags: { kind: TEXT },
  },
  'galaxy.sse.events.dropped': {
    type: 'counter',
    meaning: 'queued events dropped: the queue was full, the stream closed, or a later catch-up covers them',
    from: 'worker',
    tags: { kind: TEXT, reason: ['queue_full', 'closed', 'caught_up'] },
  },
  'galaxy.sse.keepalives.written': {
    type: 'counter',
    meaning: 'keepalive comments written to sockets',
    from: 'worker',
  },
  'galaxy.sse.connections.closed': {
    type: 'counter',
    meaning: 'streams that ended',
    from: 'worker',
    tags: { reason: ['client', 'error', 'revoked', 'stalled', 'drained', 'administrator'] },
  },
  'galaxy.sse.connections.refused': {
    type: 'counter',
    meaning: 'streams refused because a limit was reached',
    from: 'worker',
    tags: {
      reason: ['too_many_connections', 'too_many_connections_of_user', 'too_many_connections_of_address'],
    },
  },
  'galaxy.sse.resume.count': {
    type: 'counter',
    meaning: 'catch-ups of tabs',
    from: 'worker',
    tags: { source: ['memory', 'database'], cause: ['reconnect', 'overflow', 'start_over'] },
  },
  'galaxy.sse.resume.events': {
    type: 'counter',
    meaning: 'events written to sockets by catch-ups, which bypass the queue',
    from: 'worker',
    tags: { kind: TEXT },
  },
  'galaxy.sse.resume.invalid_cursor': {
    type: 'counter',
    meaning: '`Last-Event-ID` values that are malformed or in the future',
    from: 'worker',
    tags: { reason: ['unreadable', 'future'] },
  },
  'galaxy.sse.gap.count': {
    type: 'counter',
    meaning: 'gaps in the tasks of this worker, which it repairs from the database',
    from: 'worker',
    tags: { cause: ['reconnected', 'tick_lost', 'frozen', 'handler_failed', 'clock_set_back', 'unchecked'] },
  },
  'galaxy.sse.gap.repaired': {
    type: 'counter',
    meaning: 'repairs that ended; one may cover several gaps',
    from: 'worker',
  },
  'galaxy.sse.database.left_out': {
    type: 'counter',
    meaning:
      'rows that cannot be decoded and reads of one event kind that failed; the worker skips them and logs which',
    from: 'worker',
    tags: { what: TEXT },
  },
  'galaxy.sse.monitor.resync': {
    type: 'counter',
    meaning: 'resyncs: the monitor was behind and caught up with the change log',
    from: 'monitor',
    tags: {
      cause: ['takeover', 'publish_failed', 'database_unavailable', 'slow_read', 'long_log'],
    },
  },
  'galaxy.sse.monitor.leader': {
    type: 'gauge',
    meaning: '1 while this process is the elected monitor, otherwise 0',
    from: 'monitor',
  },
  'galaxy.sse.monitor.cursor_age_ms': {
    type: 'gauge',
    meaning:
      'time since the read of the change log whose changes the broker last confirmed, by the clock of the monitor',
    from: 'monitor',
  },
  'galaxy.sse.watermark_age_ms': {
    type: 'gauge',
    meaning: 'lag of the last tick that this worker received behind the database clock',
    from: 'worker',
  },
} as const satisfies Readonly<Record<string, MetricSpec>>;

export type MetricName = keyof typeof METRICS;

type NameOf<Type extends MetricType> = {
  [Name in MetricName]: (typeof METRICS)[Name]['type'] extends Type ? Name : never;
}[MetricName];

/** The tags of one metric: each key of its row, with one of its values. */
export type TagsOf<Name extends MetricName> = (typeof METRICS)[Name] extends { tags: infer Spec }
  ? { readonly [Key in keyof Spec]: Spec[Key] extends readonly (infer Value)[] ? Value : string }
  : undefined;
type TagArguments<Name extends MetricName> =
  TagsOf<Name> extends undefined ? [tags?: undefined] : [tags: TagsOf<Name>];

export interface Metrics {
  increment<Name extends NameOf<'counter'>>(name: Name, value: number, ...tags: TagArguments<Name>): void;
  /** @param ms milliseconds */
  timing<Name extends NameOf<'timing'>>(name: Name, ms: number, ...tags: TagArguments<Name>): void;
  gauge<Name extends NameOf<'gauge'>>(name: Name, value: number, ...tags: TagArguments<Name>): void;
}

/** Accepts any series. The stores and senders behind `Metrics` implement it. */
export interface MetricSink {
  increment(name: MetricName, value: number, tags?: Tags): void;
  timing(name: MetricName, ms: number, tags?: Tags): void;
  gauge(name: MetricName, value: number, tags?: Tags): void;
}

/** Discards everything. Used where no statsd server is configured. */
export const noMetrics: MetricSink & Metrics = { increment() {}, timing() {}, gauge() {} };
