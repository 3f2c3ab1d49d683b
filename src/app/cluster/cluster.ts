/**
 * The known processes of the installation, and the last 15 minutes. In memory, of fixed size; empty at the start of
 * this worker.
 */
import { COUNTERS, type ProcessNotice, processKey, type Refusal } from '../../core/notices.js';
import type { ClusterNow, ClusterProcess, History, HistoryBucket } from '../../http/routes/cluster-source.js';
import type { Clock } from '../../lib/clock.js';
import { BUCKETS, quantile } from '../../telemetry/histogram.js';

export const BUCKET_SECONDS = 5;
const HISTORY_BUCKETS = (15 * 60) / BUCKET_SECONDS;
/** Longer than the interval of notices, one second. */
const SILENT_MS = 5_000;
/** Processes that stopped, or were silent for this long, are removed. */
const STOPPED_MS = 60_000;
const FORGOTTEN_MS = 15 * 60_000;
const MOST_PROCESSES = 128;
const MOST_REFUSALS = 50;

interface Known {
  notice: ProcessNotice;
  heardAt: number;
  /** Totals at the end of the last bucket. */
  before: { counters: ProcessNotice['counters']; deliveries: readonly number[] };
}

export class Cluster {
  private readonly known = new Map<string, Known>();
  private readonly buckets: HistoryBucket[] = [];
  private refusals: (Refusal & { process: string })[] = [];
  private seconds = 0;

  constructor(
    private readonly clock: Clock,
    private readonly self: () => string,
  ) {}

  accept(notice: ProcessNotice): void {
    const key = processKey(notice);
    const before = this.known.get(key);
    if (before !== undefined && notice.sequence <= before.notice.sequence) return;
    this.known.set(key, {
      notice,
      heardAt: this.clock.monotonic(),
      before: before?.before ?? { counters: notice.counters, deliveries: notice.deliveries },
    });
    if (before === undefined) this.makeRoom(key, notice);
    for (const refusal of notice.refusals) this.refusals.push({ ...refusal, process: notice.name });
    this.refusals = this.refusals.slice(-MOST_REFUSALS);
  }

  /**
   * A successor of the same name replaces its predecessor. Beyond the maximum, the longest silent process is removed.
   */
  private makeRoom(key: string, { name, host, startedAt }: ProcessNotice): void {
    for (const [other, { notice }] of this.known) {
      const isBefore = notice.name === name && notice.host === host && notice.startedAt < startedAt;
      if (isBefore && this.isSilent(other)) this.known.delete(other);
    }
    if (this.known.size <= MOST_PROCESSES) return;
    const others = [...this.known].filter(([other]) => other !== key);
    const [longest] = others.sort(([, a], [, b]) => a.heardAt - b.heardAt)[0]!;
    this.known.delete(longest);
  }

  /** Call it once a second. @returns the bucket that ended, if any */
  everySecond(): HistoryBucket | undefined {
    const now = this.clock.monotonic();
    for (const [key, { notice, heardAt }] of this.known) {
      if (now - heardAt > (notice.leaving ? STOPPED_MS : FORGOTTEN_MS)) this.known.delete(key);
    }
    this.seconds += 1;
    if (this.seconds % BUCKET_SECONDS !== 0) return undefined;
    const bucket = this.endBucket();
    this.buckets.push(bucket);
    if (this.buckets.length > HISTORY_BUCKETS) this.buckets.shift();
    return bucket;
  }

  private endBucket(): HistoryBucket {
    const rates = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as HistoryBucket['rates'];
    const deliveries: number[] = new Array(BUCKETS).fill(0);
    const watermarks: Record<string, number> = {};
    let [streams, waiting] = [0, 0];
    for (const [key, entry] of this.known) {
      const { notice, before } = entry;
      for (const name of COUNTERS) {
        rates[name] += Math.max(0, notice.counters[name] - before.counters[name]) / BUCKET_SECONDS;
      }
      for (const [index, total] of notice.deliveries.entries()) {
        deliveries[index]! += Math.max(0, total - (before.deliveries[index] ?? 0));
      }
      entry.before = { counters: notice.counters, deliveries: notice.deliveries };
      if (this.isSilent(key) || notice.leaving) continue;
      streams += notice.gauges.streams ?? 0;
      waiting += notice.gauges.waiting ?? 0;
      if (notice.gauges.watermark_age_ms !== null) watermarks[notice.name] = notice.gauges.watermark_age_ms;
    }
    return {
      at: Math.round(this.clock.now() / 1_000_000),
      streams,
      waiting,
      rates,
      p50: quantile(deliveries, 0.5),
      p99: quantile(deliveries, 0.99),
      watermarks,
    };
  }

  private isSilent(key: string): boolean {
    return this.clock.monotonic() - this.known.get(key)!.heardAt > SILENT_MS;
  }

  /** The keys of workers with recent notices. */
  workers(): string[] {
    return [...this.known]
      .filter(([key, { notice }]) => notice.role === 'worker' && !notice.leaving && !this.isSilent(key))
      .map(([key]) => key);
  }

  has(key: string): boolean {
    return this.known.has(key);
  }

  nameOf(key: string): string {
    return this.known.get(key)?.notice.name ?? key;
  }

  now(): ClusterNow {
    const now = this.clock.monotonic();
    const processes = [...this.known].map(([key, { notice, heardAt }]): ClusterProcess => {
      const { notice: _, refusals: __, deliveries: ___, sequence: ____, ...told } = notice;
      const state = notice.leaving ? 'stopped' : now - heardAt > SILENT_MS ? 'silent' : 'heard';
      return { key, state, heard_ms: Math.round(now - heardAt), ...told };
    });
    processes.sort((a, b) => (a.role === b.role ? compare(a.name, b.name) : a.role === 'monitor' ? -1 : 1));
    return { self: this.self(), processes, refusals: this.refusals };
  }

  history(): History {
    return { bucket_seconds: BUCKET_SECONDS, buckets: this.buckets };
  }
}

const compare = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });
