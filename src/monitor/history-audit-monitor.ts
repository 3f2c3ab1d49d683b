/**
 * The history audit monitor: hints in, control tasks out, and a position in the log that says how far.
 *
 * ```
 *   hint ──► reader: what became visible since its position, with owners, one statement ──► coalescer
 *   coalescer ──due──► publish, confirmed
 *   every second: the newest read of which all is confirmed ──► position stored ──► tick(moment, position)
 * ```
 * A failed publish keeps nothing in memory: the log is read again from the position that was confirmed.
 */
import type { Cursor } from '../core/events.js';
import { Term, type TermOptions } from './term.js';

/** The role of the elected process. `gain` starts it, `lose` ends it, and both may be called repeatedly. */
export class HistoryAuditMonitor {
  private term: Term | undefined;
  private terms = 0;

  constructor(private readonly options: TermOptions) {}

  async gain(): Promise<void> {
    if (this.term) return;
    this.terms += 1;
    // Each term counts its ticks from one. Under the previous name, workers would not notice lost ticks.
    const leaderName = `${this.options.leaderName}#${this.terms}`;
    this.term = new Term({ ...this.options, leaderName });
    await this.term.start();
  }

  /** Stops publishing at once. Resolves when the hint source is closed, too. */
  async lose(): Promise<void> {
    const term = this.term;
    this.term = undefined;
    await term?.stop();
  }

  get leading(): boolean {
    return this.term !== undefined;
  }

  /** The cursor up to which everything is published; undefined while not leading or not yet known. */
  get cursor(): Cursor | undefined {
    return this.term?.cursor;
  }

  /** How long ago the log was read up to the cursor, by the clock of this process. */
  get cursorAgeMs(): number | undefined {
    return this.term?.cursorAgeMs;
  }

  /** When the broker last confirmed a tick of this term, by the monotonic clock. */
  get confirmedAt(): number | undefined {
    return this.term?.confirmedAt;
  }

  /** The source of hints while this process leads. */
  get sourceName(): string | undefined {
    return this.term?.sourceName;
  }

  /** One line about what delays publishing, or undefined. */
  problem(): string | undefined {
    return this.term?.behind;
  }
}
