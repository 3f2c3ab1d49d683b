/** Stores confirmed positions. A successor starts from the stored one, and ticks carry only stored ones. */
import type { Cursor, Micros } from '../core/events.js';
import type { LogEnd, PositionStore } from '../database/port.js';
import { MICROS_PER_SECOND } from '../lib/time.js';
import type { Logger } from '../telemetry/logger.js';
import { inTime } from './in-time.js';

/** Interval of storing without changes, so that a successor has little to read. */
const STORE_ANYWAY: Micros = 60 * MICROS_PER_SECOND;
/** No tick is further ahead of the stored position, so a successor knows the latest moment that may have been sent. */
export const FURTHEST_AHEAD: Micros = STORE_ANYWAY + 10 * MICROS_PER_SECOND;
/** All margins cover smaller backward steps of the database's clock. */
const SMALLEST_STEP: Micros = MICROS_PER_SECOND;

export class PositionKeeper {
  stored: LogEnd | undefined;
  /** The log has changes after the stored position. */
  private changed = true;
  /** The latest moment of a tick. */
  private ticked: Cursor = 0;
  /** The latest moment that was stored for ticks. */
  private tickedStored: Cursor = 0;

  constructor(
    private readonly positions: Pick<PositionStore, 'add'>,
    private readonly logger: Logger,
  ) {}

  onChanges(): void {
    this.changed = true;
  }

  /** The moment of the next tick; undefined while nothing is stored. */
  tickMoment(confirmed: LogEnd): Cursor | undefined {
    if (this.stored === undefined) return undefined;
    const until = Math.min(confirmed.moment, this.stored.moment + FURTHEST_AHEAD);
    this.ticked = Math.max(this.ticked, until);
    return until;
  }

  /**
   * Stores the position if that is due. Never rejects.
   * @param found the position stored before this term
   * @param more whether changes after this position are known already
   */
  async store({ position, moment }: LogEnd, found: LogEnd | undefined, more: boolean): Promise<void> {
    const before = this.stored ?? found;
    // The previous leader may have ticked this far.
    if (this.stored === undefined && before) this.ticked = before.moment + FURTHEST_AHEAD;
    const isAgain = before !== undefined && moment < this.ticked && this.tickedStored < this.ticked;
    const isOld = moment - (this.stored?.moment ?? 0) >= STORE_ANYWAY;
    const { changed } = this;
    const isDue = isOld || (isAgain && moment < this.ticked - SMALLEST_STEP);
    if (!isDue && (!changed || position === this.stored?.position)) return;
    this.changed = more;
    try {
      // The clock was set back: clients with one of these moments are at the previous position.
      if (isAgain) await inTime(this.positions.add({ position: before.position, moment: this.ticked }));
      await inTime(this.positions.add({ position, moment }));
      if (isAgain) this.tickedStored = this.ticked;
      this.stored = { position, moment };
    } catch (error) {
      this.changed ||= changed;
      this.logger.debug({ err: error }, 'position not stored: the database did not answer');
    }
  }
}
