/**
 * When this process may try to take the lock, judged by its own past tenures.
 *
 * ```
 *   open ──got the lock, and nothing was confirmed──► resting ──5 to 30 s, or what hindered is over──► open
 *   open ──stepped down for a standalone monitor────► yielded ──3 s──► open, and does not step down for 5 minutes,
 *                                                                      unless somebody is seen with the lock
 * ```
 */
import { Backoff } from '../lib/backoff.js';
import type { Clock } from '../lib/clock.js';
import type { End } from './tenure.js';

/** Time for the monitor to take the lock, and then for this process not to step down again if it did not. */
const YIELD_MS = 3_000;
const AFTER_VAIN_YIELD_MS = 300_000;
/** Time for others to try what did not work here. */
const FIRST_REST_MS = 5_000;
const LONGEST_REST_MS = 30_000;

export class Candidacy {
  private readonly rest: Backoff;
  private waitsFor: { state: 'resting' | 'yielded'; until: number } | undefined;
  /** Reset when another process holds the lock. */
  private noYieldBefore = Number.NEGATIVE_INFINITY;
  private freeSince: number | undefined;

  constructor(
    private readonly clock: Pick<Clock, 'monotonic'>,
    random: () => number,
  ) {
    this.rest = new Backoff(FIRST_REST_MS, LONGEST_REST_MS, random);
  }

  get state(): 'open' | 'resting' | 'yielded' {
    const { waitsFor } = this;
    return waitsFor !== undefined && this.clock.monotonic() < waitsFor.until ? waitsFor.state : 'open';
  }

  /** How long no process has held the lock. */
  get freeMs(): number {
    return this.freeSince === undefined ? 0 : this.clock.monotonic() - this.freeSince;
  }

  get isLockFree(): boolean {
    return this.freeSince !== undefined;
  }

  get mayYield(): boolean {
    return this.clock.monotonic() >= this.noYieldBefore;
  }

  lockSeen(held: boolean): void {
    if (held) {
      this.freeSince = undefined;
      this.noYieldBefore = Number.NEGATIVE_INFINITY;
    } else this.freeSince ??= this.clock.monotonic();
  }

  /** This process has taken the lock. */
  lockTaken(): void {
    this.freeSince = undefined;
  }

  /** @param worked whether the broker confirmed something in that tenure */
  tenureEnded(end: End, worked: boolean): void {
    const now = this.clock.monotonic();
    if (worked) this.rest.reset();
    this.waitsFor = undefined;
    if (end === 'handed over') {
      this.waitsFor = { state: 'yielded', until: now + YIELD_MS };
      this.noYieldBefore = now + AFTER_VAIN_YIELD_MS;
    } else if (end === 'unconfirmed' || end === 'failed') {
      this.waitsFor = { state: 'resting', until: now + this.rest.next() };
    }
  }

  /** The hindrance of this process is over. */
  unhindered(): void {
    this.waitsFor = undefined;
  }
}
