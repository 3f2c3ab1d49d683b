import type { Writable } from 'node:stream';

/** What may wait for the reader, in bytes: a few thousand lines. */
const MOST_WAITING = 1_048_576;

/**
 * A log that goes through a pipe or a socket (journald, supervisord, Docker). Whoever reads it may be slow, or have stopped:
 * nothing waits for it. Lines that do not fit are left out, and how many is said as soon as it reads again.
 */
export class LogPipe {
  private skippedRows = 0;

  /** @param sayLeftOut logs a line, here */
  constructor(
    private readonly out: Writable,
    private readonly sayLeftOut: (lines: number) => void,
  ) {
    out.on('drain', () => this.makeUp());
    // Nobody reads any more: there is no place to say so.
    out.on('error', () => {});
  }

  write(line: string): void {
    if (this.out.destroyed) return;
    if (this.out.writableLength > MOST_WAITING) this.skippedRows += 1;
    else this.out.write(line);
  }

  private makeUp(): void {
    const { skippedRows } = this;
    if (skippedRows === 0) return;
    this.skippedRows = 0;
    this.sayLeftOut(skippedRows);
  }
}
