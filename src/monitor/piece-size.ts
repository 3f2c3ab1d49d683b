/** A piece that takes longer must not be doubled. */
const QUICK_MS = 250;
/** After this many good pieces in a row, a size that was too large is tried again. */
const TRUST = 20;

/** The number of rows per read: smaller after a slow read, larger again after fast ones. */
export class PieceSize {
  private size: number;
  /** Half of a size that was too large. */
  private ceiling: number;
  private good = 0;

  constructor(private readonly most: number) {
    this.size = most;
    this.ceiling = most;
  }

  get now(): number {
    return this.size;
  }

  took(ms: number): void {
    if (ms >= QUICK_MS) return;
    this.good += 1;
    if (this.good % TRUST === 0) this.ceiling = Math.min(this.most, this.ceiling * 2);
    this.size = Math.min(this.ceiling, this.size * 2);
  }

  /** A piece failed after this time. An immediate failure has another cause. */
  tooSlow(ms: number): void {
    if (ms < QUICK_MS) return;
    this.good = 0;
    this.ceiling = Math.max(1, Math.floor(this.size / 2));
    this.size = Math.max(1, Math.floor(this.size / 8));
  }
}
