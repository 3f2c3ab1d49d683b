import type { Micros } from './time.js';

/** The clocks of this process. They are passed in, so that a test controls time. */
export interface Clock {
  /**
   * Wall clock, microseconds since 1970 UTC. It may jump and differs between hosts: never compare it across
   * processes.
   */
  now(): Micros;
  /** Milliseconds that never decrease, for durations and deadlines inside this process. */
  monotonic(): number;
}

export const systemClock: Clock = {
  // `performance.timeOrigin` plus the elapsed time would not follow a clock that is set.
  now: () => Date.now() * 1000,
  monotonic: () => performance.now(),
};
