/**
 * V8 lets the part of its heap where objects begin grow to twice 16 MiB, and does so while a program is only being loaded.
 * What Lightcone allocates is either gone in the same turn or stays for hours, so a small one serves it as well (figures in
 * docs/performance.md), and the rest would be memory that every worker holds for nothing.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** The size of both halves. V8 doubles it, so a smaller one may end at twice this. */
const LARGE_ENOUGH = 4 * 1024 * 1024;

/**
 * For the life of the process. V8's own limit needs a flag of the command line; its growth can be limited at any time.
 */
export function boundYoungGeneration(): void {
  let factor = growBy(1);
  new PerformanceObserver(() => {
    const wanted = youngGenerationBytes() < LARGE_ENOUGH ? 2 : 1;
    if (wanted !== factor) factor = growBy(wanted);
  }).observe({ entryTypes: ['gc'] });
}

export function youngGenerationBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0;
}

function growBy(factor: 1 | 2): 1 | 2 {
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
  return factor;
}
