/**
 * How far this worker has received everything: the `until` of its last tick. Only this value becomes an `id:`, so no
 * tab ever gets a cursor ahead of its events.
 * During a gap repair the watermark does not move: a tick that arrives meanwhile is kept and applied afterwards,
 * because it covers tasks that this worker may have missed.
 */

import type { Cursor } from '../../core/events.js';
import type { LogPosition } from '../../database/port.js';
import { EventId } from '../../events/frame.js';
import type { Clock } from '../../lib/clock.js';
import { MICROS_PER_SECOND } from '../../lib/time.js';
import type { DatabaseClock } from './database-clock.js';

/**
 * Maximum time between two calls of `trail`. A longer one means that the bus was disconnected or this process stood
 * still.
 */
const LONGEST_PAUSE_MS = 3000;
/** An audit time further ahead of this clock is wrong. */
const FURTHEST_AHEAD = 60 * MICROS_PER_SECOND;

export class Watermark {
  private current: EventId;
  /** When the last tick arrived. */
  private tickAt: number;
  private held = 0;
  private heldUntil: Cursor = 0;
  private heldLog: LogPosition | undefined;
  private trailedAt: number;

  /** @param initial a cursor before which nothing can be missing */
  constructor(
    private readonly clock: Clock,
    private readonly database: DatabaseClock,
    initial: Cursor,
    /**
     * Beside Galaxy's own monitor no ticks arrive, so the watermark trails the clock by this time (the expiry of SSE
     * tasks on the bus). Undefined beside Lightcone's monitor: the watermark then waits for ticks.
     */
    private readonly trailSeconds: number | undefined,
    log?: LogPosition,
  ) {
    this.current = new EventId(initial, log);
    this.tickAt = clock.monotonic();
    this.trailedAt = this.tickAt;
    database.onStepBack((to) => this.stepBack(to));
  }

  get eventId(): EventId {
    return this.current;
  }

  get cursor(): Cursor {
    return this.current.cursor;
  }

  /** The estimated database clock. */
  estimateNow(): Cursor {
    return this.database.now();
  }

  /**
   * The moment under which the memory records events that arrive now. It is not before any cursor that a tab may have
   * from another worker, which is ahead of this one during a gap repair.
   */
  get latest(): Cursor {
    return Math.max(this.heldUntil, this.estimateNow());
  }

  /**
   * The same for a change of this audit time, which may be later. After a gap `estimateNow` trails the database clock
   * by as much as the last tick before the gap did. Other workers have had newer ticks since then, and a tab with a
   * cursor of one of them from before the commit must find the change here.
   */
  latestFor(updateTime: Cursor | undefined): Cursor {
    const { latest } = this;
    return Math.max(latest, Math.min(updateTime ?? 0, latest + FURTHEST_AHEAD));
  }

  /**
   * A tick has arrived: everything up to `until` preceded it on the channel.
   * @returns false if `until` is too far ahead of the database's clock to be credible
   */
  advance(until: Cursor, log?: LogPosition): boolean {
    if (!this.database.heard(until)) return false;
    this.tickAt = this.clock.monotonic();
    // A thawed old leader may send an old tick. It is true, but adds nothing.
    if (this.held > 0) {
      if (until >= this.heldUntil) this.heldLog = log;
      this.heldUntil = Math.max(this.heldUntil, until);
    } else if (until > this.current.cursor) this.current = new EventId(until, log);
    return true;
  }

  /** The database's clock was set back: an id above `to` would look like one from before the step. */
  private stepBack(to: Cursor): void {
    if (this.current.cursor > to) this.current = new EventId(to, this.current.log);
    this.heldUntil = 0;
  }

  /** Called once a second while the bus is connected. Without ticks, lets the watermark trail the clock. */
  trail(): void {
    const now = this.clock.monotonic();
    // The first call after an interruption is too early: the bus must be able to report the gap first.
    const interrupted = now - this.trailedAt > LONGEST_PAUSE_MS;
    this.trailedAt = now;
    if (this.trailSeconds === undefined || this.held > 0 || interrupted) return;
    if (now - this.tickAt < 2000 * this.trailSeconds) return;
    const trailing = this.estimateNow() - this.trailSeconds * MICROS_PER_SECOND;
    if (trailing > this.current.cursor) this.current = new EventId(trailing, this.current.log);
  }

  /** The newest tick that was kept since `hold`. */
  get heldBack(): Cursor {
    return this.heldUntil;
  }

  /** Everything before this kept tick is delivered, while later ticks are still kept. */
  reach(heldBack: Cursor): void {
    // It may be less after a backward step of the clock.
    const until = Math.min(heldBack, this.heldUntil);
    if (until > this.current.cursor) this.current = new EventId(until);
  }

  /** Stops the watermark until the returned function is called. */
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
