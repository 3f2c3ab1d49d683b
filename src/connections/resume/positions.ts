/**
 * Maps moments to positions of the log: from ticks, and for the time before this worker's start from the table in which
 * the leader stores them. A `Last-Event-ID` is the moment of a tick; the stream had received everything visible in its
 * position.
 */
import type { Cursor } from '../../core/events.js';
import { parseSnapshot, type Snapshot } from '../../database/log/snapshot.js';
import type { LogEnd, LogPosition } from '../../database/port.js';
import { MARGIN } from '../../events/kind.js';
import { MICROS_PER_SECOND } from '../../lib/time.js';

/**
 * Positions of a day, thinned like the table. If there are more, half of the oldest are dropped; an older position only
 * causes duplicates.
 */
const MOST = 2_048;

/** `null`: older than any known position. `undefined`: no position is known at all. */
export type KnownPosition = LogPosition | null | undefined;

/** All margins cover smaller backward steps of the clock. */
const SMALLEST_STEP = MICROS_PER_SECOND;
/** Maximum time after a backward step until a leader announces the clock. */
const LEADERLESS = 30 * MICROS_PER_SECOND;
/** Ticks run ahead of the stored positions by 70 s, and beyond 15 minutes the table keeps one position a minute. */
const FURTHEST_BEHIND = 150 * MICROS_PER_SECOND;

/** Parsed once, because each reconnect of a tab needs a floor. */
interface Entry extends LogEnd {
  snapshot: Snapshot | undefined;
  /** The last moment that is known to have been sent with this position. */
  until: Cursor;
  /** The clock was set back, perhaps to here, before the next entry. */
  steppedTo: Cursor;
}

export class Positions {
  /** `moment` never decreases: while the database's clock repeats moments, the earlier position is kept. */
  private entries: Entry[] = [];
  /** The latest moment that was sent as an id. */
  private latest: Cursor = 0;
  /** The same for previous logs. */
  private ofOtherLogs: Cursor = 0;

  /** @param rowClock maximum difference between the clocks that stamp rows and the clock of the database */
  constructor(readonly rowClock: Cursor = MARGIN) {}

  /** Sets the stored positions of all logs, in the order in which they were reached. `log` is the current one. */
  begin(log: string, stored: readonly LogEnd[]): void {
    this.entries = [];
    for (const { moment, position } of stored) this.add(moment, position);
    if (this.log() !== log) this.forget();
  }

  /** After a gap. It has no effect if the log has changed meanwhile. */
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

  /** Undefined if no position is known. */
  log(): string | undefined {
    const newest = this.newest();
    return newest && logOf(newest.position);
  }

  /**
   * @returns whether the position belongs to another log than the previous one, or to an earlier state of that log,
   * whose files were put back
   */
  add(moment: Cursor, position: LogPosition): boolean {
    const last = this.entries.at(-1);
    // Another log: nothing is known about moments before it.
    const isAnother =
      last !== undefined &&
      (logOf(last.position) !== logOf(position) ||
        (moment > last.moment && nextNumber(position) < nextNumber(last.position)));
    if (last === undefined || isAnother) this.forget();
    else {
      if (moment < this.latest - SMALLEST_STEP)
        last.steppedTo = Math.min(last.steppedTo, moment - LEADERLESS);
      // A client with this moment from before the clock was set back is at the older position.
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

  /** The latest moment that may have been sent. It is ahead of a clock that was set back. */
  get reached(): Cursor {
    return Math.max(this.latest, this.ofOtherLogs);
  }

  /** An id does not name its log. */
  mayBeOfAnotherLog(id: Cursor): boolean {
    return id <= this.ofOtherLogs || this.isOfNoLeader(id);
  }

  /**
   * In this log no leader can have sent this moment. Its files were put back to an earlier state, so the data of the
   * caller may never have existed in it.
   */
  private isOfNoLeader(moment: Cursor): boolean {
    const entry = this.entryAt(moment);
    return entry !== undefined && moment > entry.until + FURTHEST_BEHIND;
  }

  /** The position of a moment that was sent with the name of this log. */
  ofToken(moment: Cursor): KnownPosition {
    return this.isOfNoLeader(moment) ? null : this.at(moment);
  }

  ofId(id: Cursor): KnownPosition {
    return this.mayBeOfAnotherLog(id) ? null : this.at(id);
  }

  /** The newest position that is not newer than the moment. */
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
   * For tables that have times but no log: no row that becomes visible after the moment has an earlier time, however
   * long its transaction was open. Transaction numbers prove it: a transaction that a position does not see is younger
   * than a position that ends before its number.
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

  /** Rows written after the moment have no earlier times, unless the clock was set back since then. */
  earliestAfter(moment: Cursor): Cursor {
    return Math.min(moment, this.steppedSince(this.entries.findLast((it) => it.moment <= moment)));
  }

  /** Rows after a backward step of the clock may have earlier times. */
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

  /** Some positions since a moment, starting at or before it, fewer the older they are; oldest first. */
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

/** Drops half of the older ones. A backward step is recorded in the previous entry. */
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

/** SQLite has one writer at a time, and no write takes longer than the margin. */
const isNumbered = (entry: LogEnd | undefined): boolean => /^\d+$/.test(whereOf(entry?.position ?? '.'));

/** The next number of its log; within one log it never decreases. */
function nextNumber(position: LogPosition): number {
  const where = whereOf(position);
  return Number(parseSnapshot(where)?.xmax ?? where.split(';')[0]);
}

/** The name of the log of a position. */
export const logOf = (position: LogPosition): string => position.slice(0, position.indexOf('.'));
