/**
 * First at once, then paced: the first change of a quiet history is due immediately; further ones within the window are
 * merged and due at its end, never later.
 */
import type { HistoryId } from '../core/events.js';

/** Ends of windows are rounded down to a grid of so many steps a window, so that neighbours share a statement and a task. */
const GRID_STEPS = 8;

interface Waiting {
  dueAt: number;
  addedAt: number;
}

export class Coalescer {
  private readonly waiting = new Map<HistoryId, Waiting>();
  /** When each history was last taken, oldest first; only those whose window is still open. */
  private readonly taken = new Map<HistoryId, number>();

  /** @param windowMs the debounce window; all times are milliseconds of one monotonic clock */
  constructor(private readonly windowMs: number) {}

  get size(): number {
    return this.waiting.size;
  }

  add(historyId: HistoryId, now: number): void {
    if (this.waiting.has(historyId)) return;
    const takenAt = this.taken.get(historyId);
    const quiet = takenAt === undefined || now - takenAt >= this.windowMs;
    this.waiting.set(historyId, {
      addedAt: now,
      dueAt: quiet ? now : Math.max(now, this.toGrid(takenAt + this.windowMs)),
    });
  }

  /** Takes up to `limit` histories that are due, and opens their windows. */
  take(now: number, limit: number): HistoryId[] {
    this.closeWindows(now);
    const due: HistoryId[] = [];
    for (const [historyId, { dueAt }] of this.waiting) {
      if (dueAt > now) continue;
      due.push(historyId);
      if (due.length === limit) break;
    }
    for (const historyId of due) {
      this.waiting.delete(historyId);
      this.taken.delete(historyId);
      this.taken.set(historyId, now);
    }
    return due;
  }

  /** When the next one is due; undefined when none waits. */
  nextDue(): number | undefined {
    let next: number | undefined;
    for (const { dueAt } of this.waiting.values()) if (next === undefined || dueAt < next) next = dueAt;
    return next;
  }

  /** Whether something waits that was added at `time` or before. */
  holdsFrom(time: number): boolean {
    for (const { addedAt } of this.waiting.values()) if (addedAt <= time) return true;
    return false;
  }

  clear(): void {
    this.waiting.clear();
  }

  private closeWindows(now: number): void {
    for (const [historyId, takenAt] of this.taken) {
      if (now - takenAt < this.windowMs) return;
      this.taken.delete(historyId);
    }
  }

  private toGrid(time: number): number {
    const step = this.windowMs / GRID_STEPS;
    return step > 0 ? Math.floor(time / step) * step : time;
  }
}
