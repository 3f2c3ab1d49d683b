/**
 * What waits for a tab that cannot be written to now: its socket is full, or its catch-up is being computed.
 *
 * State events merge: two `history_update`s become one with both ids, a second `entry_point_update` says nothing new. A
 * merged event keeps the place and the position of the first: a lower cursor is always true, and a higher one in front of
 * frames that are still waiting would skip them.
 */
import type { Micros } from '../core/events.js';
import { type Frame, historyUpdateFrame, type Position } from './frame.js';

/** More ids than this in one waiting update and the database is the better place to keep them. */
const MAX_MERGED_IDS = 500;

interface WaitingUpdate {
  readonly position: Position;
  readonly ids: Set<string>;
  updateTime: Micros | undefined;
}

export class Outbox {
  private readonly entries: (Frame | WaitingUpdate)[] = [];
  private update: WaitingUpdate | undefined;
  private hasEntryPoint = false;

  get size(): number {
    return this.entries.length;
  }

  /** @returns `overflow` when the frame does not fit: the caller then throws the outbox away and resumes from the cursor */
  push(frame: Frame, limit: number): 'queued' | 'merged' | 'overflow' {
    if (frame.update !== undefined && this.update !== undefined) {
      for (const id of frame.update.ids) this.update.ids.add(id);
      if (frame.update.updateTime !== undefined) {
        this.update.updateTime = Math.max(this.update.updateTime ?? 0, frame.update.updateTime);
      }
      return this.update.ids.size > MAX_MERGED_IDS ? 'overflow' : 'merged';
    }
    if (frame.kind === 'entry_point_update' && this.hasEntryPoint) return 'merged';
    if (this.entries.length >= limit) return 'overflow';
    if (frame.update !== undefined) {
      this.update = {
        position: frame.position,
        ids: new Set(frame.update.ids),
        updateTime: frame.update.updateTime,
      };
      this.entries.push(this.update);
    } else {
      if (frame.kind === 'entry_point_update') this.hasEntryPoint = true;
      this.entries.push(frame);
    }
    return 'queued';
  }

  /** The waiting frames, in order. */
  frames(): Frame[] {
    return this.entries.map((entry) =>
      'ids' in entry
        ? historyUpdateFrame({ ids: [...entry.ids], updateTime: entry.updateTime }, entry.position)
        : entry,
    );
  }
}
