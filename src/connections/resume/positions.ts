/**
 * Which position of the log belongs to which moment: from ticks, and for the time before this worker's start from the table
 * where the leader stores them. A `Last-Event-ID` is a moment of a tick; all that was visible in its position had been sent.
 */
import type { Cursor } from '../../core/events.js';
import { parseSnapshot, type Snapshot } from '../../database/log/snapshot.js';
import type { LogEnd, LogPosition } from '../../database/port.js';
import { MARGIN } from '../../events/kind.js';
import { MICROS_PER_SECOND } from '../../lib/time.js';

/** A day of them, thinned as the table is. Half of the oldest go when there are more: an older one costs repeats only. */
const MOST = 2_048;

/** `null`: older than any that is known. `undefined`: none is known at all. */
export type KnownPosition = LogPosition | null | undefined;

/** Smaller steps back of the clock are within every margin. */
const SMALLEST_STEP = MICROS_PER_SECOND;
/** After a step it takes so long at most until a leader says what the clock is. */
const LEADERLESS = 30 * MICROS_PER_SECOND;
/** Ticks run ahead of what is stored by 70 s, and of what is older than 15 minutes the table keeps one a minute. */
const FURTHEST_BEHIND = 150 * MICROS_PER_SECOND;

/** Taken apart once: a floor is asked for at each return of a tab. */
interface Entry extends LogEnd {
  snapshot: Snapshot | undefined;
  /** The last moment of which is known that it was given out with this position. */
  until: Cursor;
  /** The clock was set back, perhaps to here, before the next entry. */
  steppedTo: Cursor;
}

export class Positions {
  /** `moment` only grows: while the database's clock goes over the same moments again, the position before is kept. */
  private entries: Entry[] = [];
  /** No later moment was given out as an id. */
  private latest: Cursor = 0;
  /** The same in the logs before this one. */
  private ofOtherLogs: Cursor = 0;

  /** @param rowClock how far the clocks that stamp rows may differ from that of the database */
  constructor(readonly rowClock: Cursor = MARGIN) {}

  /** What is stored, of all logs, in the order in which it was reached; `log` is the one of now. */
  begin(log: string, stored: readonly LogEnd[]): void {
    this.entries = [];
    for (const { moment, position } of stored) this.add(moment, position);
    if (this.log() !== log) this.forget();
  }

  /** After a gap; not where another log was heard of by now. */
  beginAgain(log: string, stored: readonly LogEnd[]): void {
    const { latest } = this;
    if (this.log() !== log || !stored.some(({ position }) => logOf(position) === log)) return;
    this.begin(log, stored);
    this.latest = Math.max(this.latest, latest);
  }

  private forget(): void {
    this.entries = [];
    this.ofOtherLogs = Math.max(this.ofOtherLogs, this.latest);
    this.latest = 0;
  }

  /** Undefined where no position is known. */
  log(): string | undefined {
    const newest = this.newest();
    return newest && logOf(newest.position);
  }

  /** @returns whether it is of another log than the one before, or of an earlier state of that log: its files were put back */
  add(moment: Cursor, position: LogPosition): boolean {
    const last = this.entries.at(-1);
    // Another log: of the moments before it nothing can be said.
    const isAnother =
      last !== undefined &&
      (logOf(last.position) !== logOf(position) ||
        (moment > last.moment && nextNumber(position) < nextNumber(last.position)));
    if (last === undefined || isAnother) this.forget();
    else {
      if (moment < this.latest - SMALLEST_STEP)
        last.steppedTo = Math.min(last.steppedTo, moment - LEADERLESS);
      // Who was given this moment before the clock was set back stands at the older position.
      const isNew = last.position !== position && moment > last.moment && moment >= this.latest;
      this.latest = Math.max(this.latest, moment);
      if (last.position === position) last.until = Math.max(last.until, moment);
      if (!isNew) return false;
    }
    this.latest = moment;
    const snapshot = parseSnapshot(whereOf(position));
    this.entries.push({ moment, position, snapshot, until: moment, steppedTo: Number.POSITIVE_INFINITY });
    if (this.entries.length > MOST) this.entries = thinned(this.entries);
    return isAnother;
  }

  /** The latest moment that may have been given out; ahead of the clock where that was set back. */
  get reached(): Cursor {
    return Math.max(this.latest, this.ofOtherLogs);
  }

  /** An id does not say of which log it is. */
  mayBeOfAnotherLog(id: Cursor): boolean {
    return id <= this.ofOtherLogs || this.isOfNoLeader(id);
  }

  /**
   * In this log no leader can have given it out, or told anything at that time: its files were put back to an earlier state, and
   * what the caller holds may never have happened.
   */
  private isOfNoLeader(moment: Cursor): boolean {
    const entry = this.entryAt(moment);
    return entry !== undefined && moment > entry.until + FURTHEST_BEHIND;
  }

  /** Of a moment that was given out with the name of this log. */
  ofToken(moment: Cursor): KnownPosition {
    return this.isOfNoLeader(moment) ? null : this.at(moment);
  }

  ofId(id: Cursor): KnownPosition {
    return this.mayBeOfAnotherLog(id) ? null : this.at(id);
  }

  /** The newest that is not newer than the moment. */
  at(moment: Cursor): KnownPosition {
    return this.entries.length === 0 ? undefined : (this.entryAt(moment)?.position ?? null);
  }

  private entryAt(moment: Cursor): Entry | undefined {
    let [low, high] = [0, this.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle]!.moment <= moment) low = middle + 1;
      else high = middle;
    }
    return this.entries[low - 1];
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
    const stepped = this.steppedSince(entry);
    return (
      Math.min(moment, isNumbered(begun) ? moment : (begun?.moment ?? moment), stepped, ...born) -
      this.rowClock
    );
  }

  /** Rows that are written after the moment have no earlier times: an earlier one only where the clock was set back since. */
  earliestAfter(moment: Cursor): Cursor {
    return Math.min(moment, this.steppedSince(this.entries.findLast((it) => it.moment <= moment)));
  }

  /** What came after a step back of the clock may have earlier times. */
  private steppedSince(entry: Entry | undefined): Cursor {
    let least = Number.POSITIVE_INFINITY;
    for (let i = this.entries.length - 1; i >= 0; i -= 1) {
      least = Math.min(least, this.entries[i]!.steppedTo);
      if (this.entries[i] === entry) break;
    }
    return least;
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

/** Half of the older ones go; a step is remembered by the one before. */
function thinned(entries: readonly Entry[]): Entry[] {
  const kept: Entry[] = [];
  for (const [i, entry] of entries.entries()) {
    const before = kept.at(-1);
    if (before === undefined || i % 2 === 0 || i > MOST / 2) kept.push(entry);
    else {
      before.steppedTo = Math.min(before.steppedTo, entry.steppedTo);
      before.until = entry.until;
    }
  }
  return kept;
}

const whereOf = (position: LogPosition): string => position.slice(position.indexOf('.') + 1);

/** SQLite: writers follow each other, and none is waited for that is older than the margin. */
const isNumbered = (entry: LogEnd | undefined): boolean => /^\d+$/.test(whereOf(entry?.position ?? '.'));

/** The number that its log gives out next; in one log it only grows. */
function nextNumber(position: LogPosition): number {
  const where = whereOf(position);
  return Number(parseSnapshot(where)?.xmax ?? where.split(';')[0]);
}

/** The name of a position's log. */
export const logOf = (position: LogPosition): string => position.slice(0, position.indexOf('.'));
