/**
 * What waits for a tab that cannot be written to now: its socket is full, or its catch-up is being computed.
 *
 * Events whose kind has a merge rule merge. A merged event keeps the place and the position of the first: a lower cursor is
 * always true, and a higher one in front of frames that are still waiting would skip them.
 */
import type { Frame, MergeRule, Position } from '../../events/frame.js';

interface Merged {
  readonly rule: MergeRule<unknown, unknown>;
  readonly position: Position;
  readonly waiting: unknown;
}

export class PendingQueue {
  private readonly entries: (Frame | Merged)[] = [];
  private merged: Merged[] = [];

  get size(): number {
    return this.entries.length;
  }

  /** @returns `overflow` when the frame does not fit: the caller then throws the outbox away and resumes from the cursor */
  push(frame: Frame, limit: number): 'queued' | 'merged' | 'overflow' {
    const { merge: rule, content, position } = frame;
    const before = rule && this.merged.find((entry) => entry.rule === rule);
    if (before) return before.rule.add(before.waiting, content) ? 'merged' : 'overflow';
    if (this.entries.length >= limit) return 'overflow';
    if (rule === undefined) {
      this.entries.push(frame);
    } else {
      const entry = { rule, position, waiting: rule.begin(content) };
      this.merged.push(entry);
      this.entries.push(entry);
    }
    return 'queued';
  }

  /** The waiting frames, in order. */
  frames(): Frame[] {
    return this.entries.map((entry) =>
      'rule' in entry ? entry.rule.frame(entry.waiting, entry.position) : entry,
    );
  }
}
