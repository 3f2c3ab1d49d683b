/**
 * What this worker was recently told, for all users and not only its own, so that a tab that comes back (from here or from
 * another worker) is caught up without a database question.
 *
 * A ring of fixed size in typed arrays: recording costs no allocation, and the memory is the same after a quiet night and
 * after a bulk import. Entries of one owner are linked backwards, so that a look-up walks that owner's entries only. When
 * the ring is full the oldest entry goes, and `coveredSince` rises: a cursor before it is answered by the database.
 */
import type { Cursor, HistoryId, Micros, SessionId, UserId } from '../../core/events.js';
import type { Subject } from '../../events/kind.js';

export interface RecentChanges {
  subjects: Set<Subject>;
  /** The newest audit time among them; 0 if none is known. */
  updateTime: Micros;
}

export class RecentLog {
  private readonly at: Float64Array;
  /** User ids as they are, session ids negated. */
  private readonly owner: Float64Array;
  private readonly subject: Float64Array;
  private readonly updateTime: Float64Array;
  /** The sequence number of the owner's previous entry, or -1. */
  private readonly previous: Float64Array;
  private readonly newestOfOwner = new Map<number, number>();
  private readonly newestOfHistory = new Map<HistoryId, number>();
  /** The sequence number of the next entry. Entry n is in slot n modulo capacity. */
  private next = 0;
  private oldest = 0;
  private lastAt = 0;
  private startedAt: Cursor = Number.POSITIVE_INFINITY;
  private droppedUpTo: Cursor = 0;

  constructor(
    private readonly capacity: number,
    private readonly windowMicros: number,
  ) {
    this.at = new Float64Array(capacity);
    this.owner = new Float64Array(capacity);
    this.subject = new Float64Array(capacity);
    this.updateTime = new Float64Array(capacity);
    this.previous = new Float64Array(capacity);
  }

  /** The log contains everything published at this moment or later. Infinite until `startCovering`. */
  get coveredSince(): Cursor {
    return Math.max(this.startedAt, this.droppedUpTo);
  }

  /**
   * Called once everything between `since` and now is recorded (from the database, at the start).
   * @param reached the latest id that was sent; after a backward step of the clock, later entries count as later than
   * it
   */
  startCovering(since: Cursor, reached: Cursor): void {
    this.startedAt = since;
    this.lastAt = Math.max(this.lastAt, reached);
  }

  get size(): number {
    return this.next - this.oldest;
  }

  /** @param at `Watermark.latestFor` the change at the time of receipt */
  recordUser(userId: UserId, subject: Subject, at: Cursor, updateTime: Micros): void {
    this.record(userId, subject, at, updateTime);
  }

  recordSession(sessionId: SessionId, subject: Subject, at: Cursor, updateTime: Micros): void {
    this.record(-sessionId, subject, at, updateTime);
  }

  private record(owner: number, subject: Subject, at: Cursor, updateTime: Micros): void {
    // Times in the ring never decrease, so a walk stops at the first entry that is too old. Rounding up is safe: it
    // only adds duplicates to a catch-up.
    this.lastAt = Math.max(this.lastAt, at);
    // Other entries of the same moment may remain, but that moment as a whole is no longer covered.
    if (this.next - this.oldest === this.capacity) this.dropOldest(this.at[this.oldest % this.capacity]! + 1);
    const slot = this.next % this.capacity;
    this.at[slot] = this.lastAt;
    this.owner[slot] = owner;
    this.subject[slot] = subject;
    this.updateTime[slot] = updateTime;
    this.previous[slot] = this.newestOfOwner.get(owner) ?? -1;
    this.newestOfOwner.set(owner, this.next);
    if (subject > 0) this.newestOfHistory.set(subject, this.next);
    this.next += 1;
  }

  /** Drops entries older than the window. Called once a second. */
  expire(now: Cursor): void {
    const limit = now - this.windowMicros;
    while (this.oldest < this.next && this.at[this.oldest % this.capacity]! < limit) {
      this.dropOldest(limit);
    }
  }

  private dropOldest(coveredSince: Cursor): void {
    const slot = this.oldest % this.capacity;
    if (this.newestOfOwner.get(this.owner[slot]!) === this.oldest)
      this.newestOfOwner.delete(this.owner[slot]!);
    if (this.newestOfHistory.get(this.subject[slot]!) === this.oldest) {
      this.newestOfHistory.delete(this.subject[slot]!);
    }
    this.oldest += 1;
    this.droppedUpTo = Math.max(this.droppedUpTo, coveredSince);
  }

  /** Adds to `found` the entries of the owner at or after `since`. */
  collect(owner: { userId?: UserId; sessionId?: SessionId }, since: Cursor, found: RecentChanges): void {
    if (owner.userId !== undefined) this.walk(owner.userId, since, found);
    if (owner.sessionId !== undefined) this.walk(-owner.sessionId, since, found);
  }

  /** For an administrator: the entries of the user, newest first. */
  list(userId: UserId, most: number): { at: Cursor; updateTime: Micros; subject: Subject }[] {
    const found = [];
    let sequence = this.newestOfOwner.get(userId) ?? -1;
    while (sequence >= this.oldest && found.length < most) {
      const slot = sequence % this.capacity;
      found.push({
        at: this.at[slot]!,
        updateTime: this.updateTime[slot]!,
        subject: this.subject[slot]!,
      });
      sequence = this.previous[slot]!;
    }
    return found;
  }

  private walk(owner: number, since: Cursor, found: RecentChanges): void {
    let sequence = this.newestOfOwner.get(owner) ?? -1;
    while (sequence >= this.oldest) {
      const slot = sequence % this.capacity;
      if (this.at[slot]! < since) return;
      found.subjects.add(this.subject[slot]!);
      found.updateTime = Math.max(found.updateTime, this.updateTime[slot]!);
      sequence = this.previous[slot]!;
    }
  }

  /** The last delivery of this history to any owner; undefined if outside the window. */
  lastDelivery(historyId: HistoryId): Cursor | undefined {
    const sequence = this.newestOfHistory.get(historyId);
    return sequence === undefined ? undefined : this.at[sequence % this.capacity];
  }
}
