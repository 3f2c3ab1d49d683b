/**
 * Which position of the log belongs to which moment: from ticks, and for the time before this worker's start from the table
 * where the leader stores them. A `Last-Event-ID` is a moment of a tick; all that was visible in its position had been sent.
 */
import type { Cursor } from '../../core/events.js';
import { parseSnapshot, type Snapshot } from '../../database/log/snapshot.js';
import type { LogEnd, LogPosition } from '../../database/port.js';
import { MARGIN } from '../../events/kind.js';

/** A day of them, thinned as the table is. Half of the oldest go when there are more: an older one costs repeats only. */
const MOST = 2_048;

/** `null`: older than any that is known. `undefined`: none is known at all. */
export type KnownPosition = LogPosition | null | undefined;

/** Taken apart once: a floor is asked for at each return of a tab. */
interface Entry extends LogEnd {
  snapshot: Snapshot | undefined;
}

export class Positions {
  /** `moment` only grows: while the database's clock goes over the same moments again, the position before is kept. */
  private entries: Entry[] = [];

  /** What is stored, in the order in which it was reached. */
  begin(stored: readonly LogEnd[]): void {
    this.entries = [];
    for (const { moment, position } of stored) this.add(moment, position);
  }

  add(moment: Cursor, position: LogPosition): void {
    const last = this.entries.at(-1);
    if (last?.position === position) return;
    // Another log: of the moments before it nothing can be said.
    if (last && logOf(last.position) !== logOf(position)) this.entries = [];
    // Who was given this moment before the clock was set back stands at the older position.
    else if (last && moment <= last.moment) return;
    this.entries.push({ moment, position, snapshot: parseSnapshot(whereOf(position)) });
    if (this.entries.length > MOST) this.entries = this.entries.filter((_, i) => i % 2 === 0 || i > MOST / 2);
  }

  /** The newest that is not newer than the moment. */
  at(moment: Cursor): KnownPosition {
    if (this.entries.length === 0) return undefined;
    let [low, high] = [0, this.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle]!.moment <= moment) low = middle + 1;
      else high = middle;
    }
    return this.entries[low - 1]?.position ?? null;
  }

  /**
   * For what has no log but times: no row that becomes visible after the moment has an earlier one, however long its transaction
   * was open. Numbers tell when: a transaction that a position does not see is younger than a position that ends before its number.
   */
  floor(moment: Cursor): Cursor {
    const entry = this.entries.findLast((it) => it.moment <= moment);
    const open = entry?.snapshot?.xip[0];
    const begun =
      open === undefined
        ? entry
        : (this.entries.findLast(({ snapshot }) => snapshot!.xmax <= open) ?? this.entries[0]);
    const born = entry ? [...entry.position.matchAll(/@(\d+)/g)].map(([, micros]) => Number(micros)) : [];
    return Math.min(moment, isNumbered(begun) ? moment : (begun?.moment ?? moment), ...born) - MARGIN;
  }

  oldest(): LogEnd | undefined {
    return this.entries[0];
  }

  newest(): LogEnd | undefined {
    return this.entries.at(-1);
  }

  /** Some of those since a moment, the oldest at or before it, fewer the older they are; oldest first. */
  steps(since: Cursor, now: Cursor): LogEnd[] {
    const from = Math.max(
      0,
      this.entries.findLastIndex(({ moment }) => moment <= since),
    );
    const chosen: LogEnd[] = [];
    let age = 0;
    for (let i = this.entries.length - 1; i >= from; i -= 1) {
      const entry = this.entries[i]!;
      if (i > from && now - entry.moment < age) continue;
      chosen.unshift(entry);
      age = 3 * Math.max(1_000_000, now - entry.moment);
    }
    return chosen;
  }
}

const whereOf = (position: LogPosition): string => position.slice(position.indexOf('.') + 1);

/** SQLite: writers follow each other, and none is waited for that is older than the margin. */
const isNumbered = (entry: LogEnd | undefined): boolean => /^\d+$/.test(whereOf(entry?.position ?? '.'));

/** The name of a position's log. */
export const logOf = (position: LogPosition): string => position.slice(0, position.indexOf('.'));
