/** Looks up histories that hints name, by their keys. This is fast even when a read of the log is slow. */
import type { HistoryChange, HistoryId } from '../core/events.js';
import type { ChangeLog } from '../database/port.js';
import { inTime } from './in-time.js';
import { PieceSize } from './piece-size.js';

export class LookUp {
  private waiting = new Set<HistoryId>();
  private running = false;
  private readonly size = new PieceSize(1_000);

  constructor(
    private readonly changeLog: Pick<ChangeLog, 'changesOf'>,
    private readonly onFound: (changes: readonly HistoryChange[]) => void,
  ) {}

  add(historyIds: Iterable<HistoryId>): void {
    for (const id of historyIds) this.waiting.add(id);
    if (!this.running && this.waiting.size > 0) void this.run();
  }

  /** The log covers what cannot be looked up. */
  private async run(): Promise<void> {
    this.running = true;
    while (this.waiting.size > 0) {
      const ids = [...this.waiting].slice(0, this.size.now);
      for (const id of ids) this.waiting.delete(id);
      const begun = performance.now();
      try {
        this.onFound(await inTime(this.changeLog.changesOf(ids)));
        this.size.took(performance.now() - begun);
      } catch {
        this.size.tooSlow(performance.now() - begun);
      }
    }
    this.running = false;
  }
}
