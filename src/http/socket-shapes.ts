/**
 * `net.Socket` copies its options with `{ ...options }`. The V8 of Node 20 remembers the first four shapes that are copied
 * there and, through a fault of its own, gives every copy of a remembered shape a hidden class of its own; each access to
 * such a copy, some thirty in a constructor, is then a miss of all caches: 15 µs instead of 1 µs per connection
 * (docs/performance.md). A place that has seen more than four shapes remembers none, and copies of one shape share a class.
 */
import { Socket } from 'node:net';

/** V8 begins to remember only after some calls: 16 were too few, 32 enough. These take 4 ms. */
const CALLS = 100;

let done = false;

/** To be called before a server listens; for the life of the process. */
export function shareSocketShapes(): void {
  if (done) return;
  done = true;
  for (let number = 0; number < CALLS; number++) new Socket({ [`shape${number}`]: true } as object);
}
