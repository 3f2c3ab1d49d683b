import type { Clock } from './clock.js';

/**
 * Milliseconds until the next whole multiple of the period on this process's clock; between half a period and one and a
 * half. What parts do every second they then do together: it is the waking of an idle process that costs, not the work.
 */
export function msUntilAligned(periodMs: number, clock: Clock): number {
  const now = clock.monotonic();
  // A timer may fire a little early: the beat that it was meant for is then the nearest one, and over.
  return (Math.round(now / periodMs) + 1) * periodMs - now;
}

/** Like setInterval, on the beat. @returns ends it */
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
