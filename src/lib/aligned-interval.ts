import type { Clock } from './clock.js';

/**
 * Milliseconds until the next multiple of the period on this process's clock, between half a period and one and a
 * half. Aligned timers fire together, which matters because waking an idle process costs more than the work.
 */
export function msUntilAligned(periodMs: number, clock: Clock): number {
  const now = clock.monotonic();
  // A timer may fire a little early. The multiple that it was meant for is then the nearest one, and over.
  return (Math.round(now / periodMs) + 1) * periodMs - now;
}

/** Like setInterval, but aligned to multiples of the period. @returns a function that ends it */
export function setAlignedInterval(periodMs: number, clock: Clock, work: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    timer = setTimeout(
      () => {
        arm();
        work();
      },
      msUntilAligned(periodMs, clock),
    );
  };
  arm();
  return () => clearTimeout(timer);
}
