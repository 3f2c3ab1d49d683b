import type { Micros } from './time.js';

/** This process's clocks, passed in so that a test can own time. */
export interface Clock {
  /** Wall clock, microseconds since 1970 UTC. May jump and may differ between hosts: never compare across processes. */
  now(): Micros;
  /** Milliseconds that only ever grow; for durations and deadlines inside this process. */
  monotonic(): number;
}

export const systemClock: Clock = {
  // Asked anew: `performance.timeOrigin` plus what has passed does not follow a clock that is set.
  now: () => Date.now() * 1000,
  monotonic: () => performance.now(),
};
