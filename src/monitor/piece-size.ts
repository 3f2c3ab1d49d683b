/** A piece that takes longer could not be twice as big. */
const QUICK_MS = 250;
/** So many good ones in a row, and what was too much is tried again. */
const TRUST = 20;

/** How much is asked for at once: less after a piece that took too long, more again while they are quick. */
export class PieceSize {
  private size: number;
  /** Half of what took too long. */
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

  /** It failed after so long. What fails at once fails for another reason. */
  tooSlow(ms: number): void {
    if (ms < QUICK_MS) return;
    this.good = 0;
    this.ceiling = Math.max(1, Math.floor(this.size / 2));
    this.size = Math.max(1, Math.floor(this.size / 8));
  }
}
