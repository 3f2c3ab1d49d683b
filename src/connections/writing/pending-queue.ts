/**
 * The queue of a tab that cannot be written to now: its socket is full, or its catch-up is running.
 * Events whose kind has a merge rule merge. A merged event keeps the place and the position of the first one: a lower
 * cursor is always correct, and a higher one would skip the frames that still wait behind it.
 */
import type { EventId, Frame, MergeRule } from '../../events/frame.js';

interface Merged {
  readonly kind: string;
  readonly rule: MergeRule<unknown, unknown>;
  readonly eventId: EventId;
  readonly waiting: unknown;
}

export class PendingQueue {
  private readonly entries: (Frame | Merged)[] = [];
  private merged: Merged[] = [];

  get size(): number {
    return this.entries.length;
  }

  /** @returns `overflow` if the frame does not fit; the caller then discards the queue and resumes from the cursor */
  push(frame: Frame, limit: number): 'queued' | 'merged' | 'overflow' {
    const { kind, merge: rule, content, eventId } = frame;
    const before = rule && this.merged.find((entry) => entry.rule === rule);
    if (before) return before.rule.add(before.waiting, content) ? 'merged' : 'overflow';
    if (this.entries.length >= limit) return 'overflow';
    if (rule === undefined) {
      this.entries.push(frame);
    } else {
      const entry = { kind, rule, eventId, waiting: rule.begin(content) };
      this.merged.push(entry);
      this.entries.push(entry);
    }
    return 'queued';
  }

  *kinds(): Iterable<string> {
    for (const { kind } of this.entries) yield kind;
  }

  /** The waiting frames, in order. */
  frames(): Frame[] {
    return this.entries.map((entry) =>
      'rule' in entry ? entry.rule.frame(entry.waiting, entry.eventId) : entry,
    );
  }
}
