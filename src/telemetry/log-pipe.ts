import type { Writable } from 'node:stream';

/** Maximum number of bytes that wait for the reader: a few thousand lines. */
const MOST_WAITING = 1_048_576;

/**
 * A log that goes through a pipe or a socket (journald, supervisord, Docker). Its reader may be slow or stopped, and
 * nothing waits for it: lines that do not fit are dropped, and their number is logged when the reader continues.
 */
export class LogPipe {
  private skippedRows = 0;

  /** @param sayLeftOut logs the number of dropped lines */
  constructor(
    private readonly out: Writable,
    private readonly sayLeftOut: (lines: number) => void,
  ) {
    out.on('drain', () => this.makeUp());
    // The reader has gone, so there is no place to report it.
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
