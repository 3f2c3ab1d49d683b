/**
 * Debounces: the first change of a quiet history is due at once. Further ones within the window are merged and due at
 * its end, never later.
 */
import type { HistoryChange, HistoryId } from '../core/events.js';

/** Ends of windows are rounded down to a grid with this many steps per window, so that neighbours share a task. */
const GRID_STEPS = 8;

interface Waiting {
  change: HistoryChange;
  dueAt: number;
  /** The number of the first read that found it. */
  read: number;
}

export class Coalescer {
  private readonly waiting = new Map<HistoryId, Waiting>();
  /** The last dequeue time of each history with an open window, oldest first. */
  private readonly taken = new Map<HistoryId, number>();

  /** @param windowMs the debounce window; all times are milliseconds of one monotonic clock */
  constructor(private readonly windowMs: number) {}

  get size(): number {
    return this.waiting.size;
  }

  /** Of two changes of one history the later one is kept, because it has the current owner. */
  add(change: HistoryChange, read: number, now: number): void {
    const { historyId } = change;
    const known = this.waiting.get(historyId);
    if (known) {
      known.read = Math.min(known.read, read);
      known.change = { ...change, newest: Math.max(change.newest, known.change.newest) };
      return;
    }
    const takenAt = this.taken.get(historyId);
    const quiet = takenAt === undefined || now - takenAt >= this.windowMs;
    const dueAt = quiet ? now : Math.max(now, this.toGrid(takenAt + this.windowMs));
    this.waiting.set(historyId, { change, dueAt, read });
  }

  /** Dequeues up to `limit` due changes and opens their windows. */
  take(now: number, limit: number): { changes: HistoryChange[]; read: number } {
    this.closeWindows(now);
    const changes: HistoryChange[] = [];
    let oldest = Number.POSITIVE_INFINITY;
    for (const [historyId, { change, dueAt, read }] of this.waiting) {
      if (dueAt > now) continue;
      changes.push(change);
      oldest = Math.min(oldest, read);
      this.waiting.delete(historyId);
      this.taken.delete(historyId);
      this.taken.set(historyId, now);
      if (changes.length === limit) break;
    }
    return { changes, read: oldest };
  }

  /** The time at which the next change is due; undefined if none waits. */
  nextDue(): number | undefined {
    let next: number | undefined;
    for (const { dueAt } of this.waiting.values()) if (next === undefined || dueAt < next) next = dueAt;
    return next;
  }

  /** The oldest read number among the waiting changes; infinite if none waits. */
  oldestRead(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { read } of this.waiting.values()) oldest = Math.min(oldest, read);
    return oldest;
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
