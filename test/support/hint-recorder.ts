import type { HintListener } from '../../src/database/port.js';

/** What a source told, in order. */
export class HintRecorder implements HintListener {
  readonly batches: number[][] = [];
  readonly gaps: string[] = [];
  onHistories(ids: readonly number[]): void {
    this.batches.push([...ids]);
  }
  onGap(cause: string): void {
    this.gaps.push(cause);
  }
  get ids(): number[] {
    return this.batches.flat();
  }
}
