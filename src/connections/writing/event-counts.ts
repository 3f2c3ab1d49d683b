/**
 * Counts the fate of queued events by kind: queued = written + merged + dropped + waiting. Events of a catch-up bypass
 * the queue, and keepalives are not events, so both have counters of their own.
 */
import type { Batch } from '../../events/frame.js';
import type { Metrics } from '../../telemetry/metrics.js';

/** `caught_up`: a catch-up that started later covers the event. */
const DROP_REASONS = ['queue_full', 'closed', 'caught_up'] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Counts since the last report. */
class KindCounts {
  queued = 0;
  merged = 0;
  written = 0;
  resumed = 0;
  queue_full = 0;
  closed = 0;
  caught_up = 0;
}

export class EventCounts {
  keepalives = 0;
  private readonly byKind = new Map<string, KindCounts>();
  /** A fan-out counts the same kind thousands of times. */
  private recentKind: string | undefined;
  private recent = new KindCounts();

  of(kind: string): KindCounts {
    return kind === this.recentKind ? this.recent : this.find(kind);
  }

  private find(kind: string): KindCounts {
    let counts = this.byKind.get(kind);
    if (counts === undefined) {
      counts = new KindCounts();
      this.byKind.set(kind, counts);
    }
    this.recentKind = kind;
    this.recent = counts;
    return counts;
  }

  written(batch: Batch): void {
    const { kind } = batch;
    if (kind !== undefined) this.of(kind).written += batch.length;
    else for (const frame of batch.frames()) this.of(frame.kind).written += 1;
  }

  dropped(kinds: Iterable<string>, reason: DropReason): void {
    for (const kind of kinds) this.of(kind)[reason] += 1;
  }

  /** Sends the counts since the last report. */
  report(metrics: Metrics): void {
    for (const [kind, counts] of this.byKind) {
      if (counts.queued > 0) metrics.increment('galaxy.sse.events.queued', counts.queued, { kind });
      if (counts.merged > 0) metrics.increment('galaxy.sse.events.merged', counts.merged, { kind });
      if (counts.written > 0) metrics.increment('galaxy.sse.events.written', counts.written, { kind });
      if (counts.resumed > 0) metrics.increment('galaxy.sse.resume.events', counts.resumed, { kind });
      for (const reason of DROP_REASONS) {
        if (counts[reason] > 0)
          metrics.increment('galaxy.sse.events.dropped', counts[reason], { kind, reason });
      }
      if (counts.queue_full > 0) {
        metrics.increment('galaxy.sse.connections.dropped', counts.queue_full, { reason: 'queue_full' });
      }
      Object.assign(counts, new KindCounts());
    }
    if (this.keepalives > 0) metrics.increment('galaxy.sse.keepalives.written', this.keepalives);
    this.keepalives = 0;
  }
}
