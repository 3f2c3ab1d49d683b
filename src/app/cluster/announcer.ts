/** Publishes the state of this process once a second. */
import type { NoticePublisher } from '../../bus/port.js';
import {
  COUNTERS,
  type Counters,
  type Gauges,
  LONGEST_PROBLEM,
  MOST_PROBLEMS,
  MOST_REFUSALS,
  type ProcessNotice,
  processKey,
  type Refusal,
} from '../../core/notices.js';
import { setAlignedInterval } from '../../lib/aligned-interval.js';
import type { Clock } from '../../lib/clock.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { CountingMetrics } from '../../telemetry/counting-metrics.js';
import type { MetricName, Tags } from '../../telemetry/metrics.js';

export interface AnnouncerOptions {
  process: Pick<ProcessNotice, 'name' | 'host' | 'pid' | 'role' | 'version' | 'database' | 'bus'>;
  bus: NoticePublisher;
  metrics: CountingMetrics;
  clock: Clock;
  state: () => Pick<ProcessNotice, 'ready' | 'problems' | 'leader'> & { leads: boolean; gauges: Gauges };
  /** Refused streams; `take` returns those since its last call. */
  refusals?: { readonly total: number; take(): Refusal[] };
  /** For a worker, which shows the cluster: it learns of itself even without the bus. */
  onNotice?: (notice: ProcessNotice) => void;
}

export class Announcer implements Lifecycle {
  readonly key: string;
  private readonly startedAt: number;
  private sequence = 0;
  private leadsSince: number | undefined;
  private end: (() => void) | undefined;

  constructor(private readonly options: AnnouncerOptions) {
    this.startedAt = Math.floor(options.clock.now() / 1000);
    this.key = processKey({ ...options.process, startedAt: this.startedAt } as ProcessNotice);
  }

  async start(): Promise<void> {
    this.end ??= setAlignedInterval(1000, this.options.clock, () => void this.announce(false));
  }

  /** Before the bus stops, so that the others know that this is no crash. */
  async stop(): Promise<void> {
    if (this.end === undefined) return;
    this.end();
    this.end = undefined;
    await this.announce(true);
  }

  private async announce(leaving: boolean): Promise<void> {
    const notice = this.notice(leaving);
    this.options.onNotice?.(notice);
    // The next notice, a second later, makes up for a lost one.
    await this.options.bus.publishNotice(notice).catch(() => {});
  }

  private notice(leaving: boolean): ProcessNotice {
    const { process, metrics, clock, state, refusals } = this.options;
    const { ready, problems, leader, leads, gauges } = state();
    if (leads) this.leadsSince ??= clock.monotonic();
    else this.leadsSince = undefined;
    this.sequence += 1;
    return {
      notice: 'process',
      ...process,
      startedAt: this.startedAt,
      sequence: this.sequence,
      leaving,
      ready,
      problems: problems.slice(0, MOST_PROBLEMS).map((problem) => problem.slice(0, LONGEST_PROBLEM)),
      leadingSeconds:
        this.leadsSince === undefined ? null : Math.floor((clock.monotonic() - this.leadsSince) / 1000),
      leader,
      gauges,
      counters: { ...count(metrics), streams_refused: refusals?.total ?? 0 },
      deliveries: [...metrics.deliveries.counts],
      refusals: refusals?.take().slice(-MOST_REFUSALS) ?? [],
    };
  }
}

/** The counter of a notice for each series. */
const NAMES: Partial<Record<MetricName, keyof Counters>> = {
  'galaxy.sse.changes.seen': 'changes_seen',
  'galaxy.sse.dispatch.count': 'tasks_published',
  'galaxy.sse.dispatch.skipped_no_qw': 'tasks_skipped',
  'galaxy.sse.tasks.received': 'tasks_received',
  'galaxy.sse.tasks.invalid': 'tasks_invalid',
  'galaxy.sse.events.queued': 'events_queued',
  'galaxy.sse.events.merged': 'events_merged',
  'galaxy.sse.events.written': 'events_written',
  'galaxy.sse.connections.dropped': 'events_dropped',
  'galaxy.sse.gap.repaired': 'gaps_repaired',
  'galaxy.sse.connections.closed': 'streams_closed',
};

function count(metrics: CountingMetrics): Counters {
  const counters = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Counters;
  for (const { name, tags, value } of metrics.totals()) {
    const known = NAMES[name];
    if (known !== undefined) counters[known] += value;
    const second = byTag(name, tags);
    if (second !== undefined) counters[second] += value;
  }
  return counters;
}

function byTag(name: MetricName, { task, source }: Tags): keyof Counters | undefined {
  if (name === 'galaxy.sse.resume.count') return source === 'memory' ? 'resumed_memory' : 'resumed_database';
  if (name !== 'galaxy.sse.tasks.received') return undefined;
  return KINDS.find((kind) => kind === task);
}
const KINDS = ['history_update', 'notify_users', 'notify_broadcast', 'entry_point_update'] as const;
