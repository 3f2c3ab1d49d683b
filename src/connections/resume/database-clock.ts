/**
 * What this worker knows of the database's clock without asking: every tick proves a moment that it has reached. It is
 * asked when no tick has agreed for a while, when one is far ahead, and before a gap is repaired: the clock may step (a
 * fail-over to another server, a correction by NTP), and then nothing that was added up from before holds.
 *
 * ```
 *   moments given out before:   ────────────to═══════════════from
 *   and after the clock stepped back:       to═══════════════from──────────►
 * ```
 *
 * A cursor between `to` and `from` may be from before the step or from after it. It counts as `to`: what may be missing is
 * told.
 */

import type { Cursor } from '../../core/events.js';
import type { Clock } from '../../lib/clock.js';
import { MICROS_PER_SECOND } from '../../lib/time.js';

/** Ticks carry moments that are up to two seconds old, and need some time to arrive. */
const AGREES_WITHIN = 3 * MICROS_PER_SECOND;
/** A tick further ahead is wrong, or the clock has stepped forward. */
const FURTHEST_AHEAD = 5 * MICROS_PER_SECOND;
/** Every margin covers smaller backward steps. */
const SMALLEST_STEP = MICROS_PER_SECOND;
/** Interval of asking the database while no tick agrees. */
const ASK_EACH_MS = 10_000;
const REMEMBERED_STEPS = 8;

export class DatabaseClock {
  /** The database's moment minus this process's: the largest proven value, because no message arrives early. */
  private offset: Cursor;
  private agreedAt: number;
  private askedAt: number;
  private asking: Promise<void> | undefined;
  private readonly steps: { to: Cursor; from: Cursor }[] = [];
  private readonly listeners: ((to: Cursor, from: Cursor) => void)[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly ask: () => Promise<Cursor>,
    /** The database clock at the time of the call. */
    now: Cursor,
  ) {
    this.agreedAt = clock.monotonic();
    this.askedAt = this.agreedAt;
    this.offset = now - this.micros();
  }

  now(): Cursor {
    return this.offset + this.micros();
  }

  /** @param listener receives the interval that the clock repeats */
  onStepBack(listener: (to: Cursor, from: Cursor) => void): void {
    this.listeners.push(listener);
  }

  /** A leader reports that the clock has reached this moment. @returns false if that is not credible (yet) */
  heard(moment: Cursor): boolean {
    const offset = moment - this.micros();
    if (offset > this.offset + FURTHEST_AHEAD) {
      this.askSoon(AGREES_WITHIN / 1000);
      return false;
    }
    if (offset > this.offset - AGREES_WITHIN) this.agreedAt = this.clock.monotonic();
    else this.askSoon(AGREES_WITHIN / 1000);
    if (offset > this.offset) this.offset = offset;
    return true;
  }

  /** Called once a second. */
  look(): void {
    if (this.clock.monotonic() - this.agreedAt >= ASK_EACH_MS) this.askSoon(ASK_EACH_MS);
  }

  private askSoon(eachMs: number): void {
    if (this.clock.monotonic() - this.askedAt < eachMs) return;
    this.check().catch(() => {}); // asked again
  }

  /** Asks the database. @throws LightconeError DATABASE_UNAVAILABLE */
  check(): Promise<void> {
    this.asking ??= this.question().finally(() => {
      this.asking = undefined;
    });
    return this.asking;
  }

  private async question(): Promise<void> {
    this.askedAt = this.clock.monotonic();
    const before = this.micros();
    const moment = await this.ask();
    // The database read it at some time between question and answer.
    const least = moment - this.micros();
    if (moment - before < this.offset - SMALLEST_STEP) {
      const from = this.now();
      const unproved = this.micros() - this.agreedAt * 1000;
      this.offset = least;
      this.stepped(this.now() - Math.round(unproved) - AGREES_WITHIN, from);
    }
    this.offset = Math.max(this.offset, least);
    this.agreedAt = this.clock.monotonic();
  }

  private stepped(to: Cursor, from: Cursor): void {
    this.steps.push({ to, from: from + FURTHEST_AHEAD });
    if (this.steps.length > REMEMBERED_STEPS) this.steps.shift();
    for (const listener of this.listeners) listener(to, from);
  }

  /** @returns a cursor that is correct after all steps of the clock: the same or an earlier one */
  judge(cursor: Cursor): Cursor {
    let judged = cursor;
    for (const { to, from } of this.steps) if (cursor > to && cursor <= from) judged = Math.min(judged, to);
    return judged;
  }

  private micros(): number {
    return Math.round(this.clock.monotonic() * 1000);
  }
}
