/** Counts durations by size: small enough for a message, fine enough for a median and a 99th percentile. */

/** Upper bounds in milliseconds. Longer durations fall into a last bucket. */
export const BOUNDS_MS = [
  1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000,
  10_000, 30_000, 60_000,
] as const;
export const BUCKETS = BOUNDS_MS.length + 1;

export class Histogram {
  readonly counts: number[] = new Array(BUCKETS).fill(0);

  add(ms: number): void {
    let bucket = 0;
    while (bucket < BOUNDS_MS.length && ms > BOUNDS_MS[bucket]!) bucket += 1;
    this.counts[bucket]! += 1;
  }
}

/** @returns milliseconds, interpolated linearly within a bucket; null if nothing was counted */
export function quantile(counts: readonly number[], part: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = part * total;
  for (let bucket = 0; bucket < counts.length; bucket += 1) {
    const count = counts[bucket]!;
    if (count > 0 && left <= count) {
      const from = bucket === 0 ? 0 : BOUNDS_MS[bucket - 1]!;
      const to = BOUNDS_MS[bucket] ?? from;
      return from + (to - from) * (left / count);
    }
    left -= count;
  }
  return BOUNDS_MS.at(-1)!;
}
