/**
 * How far this worker has been told everything: the `until` of the last tick it received. It is the only value that
 * becomes an `id:`, so that no tab ever holds a cursor that is ahead of what it got.
 *
 * While a gap is being repaired the watermark stands still: a tick that comes in between is kept and applied afterwards,
 * since it vouches for tasks that this worker may have missed.
 */

import type { Cursor } from '../../core/events.js';
import type { LogPosition } from '../../database/port.js';
import { Position } from '../../events/frame.js';
import type { Clock } from '../../lib/clock.js';
import { MICROS_PER_SECOND } from '../../lib/time.js';
import type { DatabaseClock } from './database-clock.js';

/** Between two calls of `trail`; longer means that the bus was away or this process stood still. */
const LONGEST_PAUSE_MS = 3000;
/** An audit time that is further ahead of this clock is wrong. */
const FURTHEST_AHEAD = 60 * MICROS_PER_SECOND;

export class Watermark {
  private current: Position;
  /** When a tick was last heard. */
  private tickAt: number;
  private held = 0;
  private heldUntil: Cursor = 0;
  private heldLog: LogPosition | undefined;
  private trailedAt: number;

  /** @param initial a cursor behind which nothing can be missed */
  constructor(
    private readonly clock: Clock,
    private readonly database: DatabaseClock,
    initial: Cursor,
    /**
     * Where only Galaxy's own monitor runs no tick is ever heard: the watermark then trails the clock by so many seconds
     * (the expiry of SSE tasks on the bus). Undefined where Lightcone's monitor is expected: then it waits for a tick.
     */
    private readonly trailSeconds: number | undefined,
    log?: LogPosition,
  ) {
    this.current = new Position(initial, log);
    this.tickAt = clock.monotonic();
    this.trailedAt = this.tickAt;
    database.onStepBack((to) => this.stepBack(to));
  }

  get position(): Position {
    return this.current;
  }

  get cursor(): Cursor {
    return this.current.cursor;
  }

  /** The database clock, as far as it can be known without asking. */
  estimateNow(): Cursor {
    return this.database.now();
  }

  /**
   * The moment under which what arrives now is remembered for tabs that come back: not before any cursor that a tab can
   * have got from another worker, which is ahead of this one while a gap is being repaired here.
   */
  get latest(): Cursor {
    return Math.max(this.heldUntil, this.estimateNow());
  }

  /**
   * The same for a change of this audit time, which may be later. After a gap `estimateNow` trails the database clock by as
   * much as the last tick before the gap did; other workers have had newer ticks since, and whoever got a cursor from one of
   * them before the change was committed must find it here.
   */
  latestFor(updateTime: Cursor | undefined): Cursor {
    const { latest } = this;
    return Math.max(latest, Math.min(updateTime ?? 0, latest + FURTHEST_AHEAD));
  }

  /**
   * A tick was received: everything up to `until` was ahead of it on the channel.
   *
   * @returns false when `until` is so far ahead of the database's clock that it is not believed
   */
  advance(until: Cursor, log?: LogPosition): boolean {
    if (!this.database.heard(until)) return false;
    this.tickAt = this.clock.monotonic();
    // An old leader that was frozen may send a tick that is behind: it is true, but says nothing new.
    if (this.held > 0) {
      if (until >= this.heldUntil) this.heldLog = log;
      this.heldUntil = Math.max(this.heldUntil, until);
    } else if (until > this.current.cursor) this.current = new Position(until, log);
    return true;
  }

  /** The database's clock was set back: an id above `to` would count as one from before. */
  private stepBack(to: Cursor): void {
    if (this.current.cursor > to) this.current = new Position(to, this.current.log);
    this.heldUntil = 0;
  }

  /** Called once a second while the bus is connected: lets the watermark trail the clock where no tick is to be expected. */
  trail(): void {
    const now = this.clock.monotonic();
    // The first call after an interruption comes too early: whoever noticed it has to be able to tell of the gap first.
    const interrupted = now - this.trailedAt > LONGEST_PAUSE_MS;
    this.trailedAt = now;
    if (this.trailSeconds === undefined || this.held > 0 || interrupted) return;
    if (now - this.tickAt < 2000 * this.trailSeconds) return;
    const trailing = this.estimateNow() - this.trailSeconds * MICROS_PER_SECOND;
    if (trailing > this.current.cursor) this.current = new Position(trailing, this.current.log);
  }

  /** The newest tick that was kept since `hold`. */
  get heldBack(): Cursor {
    return this.heldUntil;
  }

  /** All that this tick vouches for is delivered: said while others are still kept. */
  reach(heldBack: Cursor): void {
    // Less, when the clock was set back meanwhile.
    const until = Math.min(heldBack, this.heldUntil);
    if (until > this.current.cursor) this.current = new Position(until);
  }

  /** Stands still until the returned function is called. */
  hold(): () => void {
    this.held += 1;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.held -= 1;
      if (this.held === 0 && this.heldUntil > 0) {
        const until = this.heldUntil;
        this.heldUntil = 0;
        this.advance(until, this.heldLog);
      }
    };
  }
}
