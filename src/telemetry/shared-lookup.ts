import dns from 'node:dns';
import { isIP } from 'node:net';
import type { Clock } from '../lib/clock.js';

/** Time for which an address, or a failure, is cached. */
const KNOWN_MS = 60_000;
const FAILED_MS = 5_000;
/** Maximum number of datagrams that wait for an answer; further ones are dropped. */
const MOST_WAITING = 1_000;

type Answer = [error: NodeJS.ErrnoException | null, address: string, family: number];
type Callback = (...answer: Answer) => void;

/**
 * DNS look-ups for the socket of one host, with at most one query at a time. A query occupies one of the few threads
 * that also resolve the database and hash passwords, for as long as the resolver does not answer.
 */
export function sharedLookup(clock: Pick<Clock, 'monotonic'>) {
  let known: { answer: Answer; until: number } | undefined;
  let waiting: Callback[] | undefined;
  return (host: string, family: number, callback: Callback): void => {
    // The socket also looks up the address that it binds to.
    if (isIP(host) !== 0) process.nextTick(callback, null, host, isIP(host));
    else if (known !== undefined && clock.monotonic() < known.until) {
      process.nextTick(callback, ...known.answer);
    } else if (waiting !== undefined) {
      if (waiting.length < MOST_WAITING) waiting.push(callback);
      else process.nextTick(callback, new Error(`${host} is not resolved yet`), '', family);
    } else {
      waiting = [callback];
      dns.lookup(host, { family }, (...answer: Answer) => {
        known = { answer, until: clock.monotonic() + (answer[0] ? FAILED_MS : KNOWN_MS) };
        const callbacks = waiting!;
        waiting = undefined;
        for (const waited of callbacks) waited(...answer);
      });
    }
  };
}
