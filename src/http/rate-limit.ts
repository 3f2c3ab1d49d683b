/** How many requests one caller may send: a bucket of tokens that fills again at a steady pace. */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.js';
import { LightconeError } from '../core/errors.js';
import { readCredentials } from './credentials.js';

const REMEMBERED_CALLERS = 20_000;
/** A page that opens asks for much at once. */
const BURST_SECONDS = 10;
/** Asked for by machines that watch over this one, and by the browser itself. */
const LIMITED = /^\/(api|history)\//;

interface Bucket {
  tokens: number;
  at: number;
}

export class TokenBuckets {
  readonly #buckets = new LRUCache<string, Bucket>({ max: REMEMBERED_CALLERS });

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    private readonly clock: Clock,
  ) {}

  /** @throws LightconeError RATE_LIMITED, with the time until there is a token again */
  take(caller: string, message: string): void {
    const now = this.clock.monotonic();
    const bucket = this.#buckets.get(caller) ?? { tokens: this.burst, at: now };
    const tokens = Math.min(this.burst, bucket.tokens + ((now - bucket.at) / 1000) * this.perSecond);
    const enough = tokens >= 1;
    this.#buckets.set(caller, { tokens: enough ? tokens - 1 : tokens, at: now });
    if (enough) return;
    throw new LightconeError('RATE_LIMITED', message, { retryAfterSeconds: (1 - tokens) / this.perSecond });
  }
}

/** onRequest hook for the API, not for the stream. @param perSecond requests per second and caller */
export function limitRate(
  perSecond: number,
  { clock, prefix }: { clock: Clock; prefix: string },
): (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void {
  const buckets = new TokenBuckets(perSecond, Math.max(1, perSecond * BURST_SECONDS), clock);
  const message = `more than ${perSecond} requests a second for longer than a moment (api_rate_limit); slow down`;
  return (request, _reply, done) => {
    try {
      if (LIMITED.test(request.url.slice(prefix.length))) buckets.take(callerOf(request), message);
      done();
    } catch (error) {
      done(error as Error);
    }
  };
}

/** Whoever shows credentials is counted by them, also when they are wrong; everybody else by the address. */
function callerOf(request: FastifyRequest): string {
  const { key, cookie } = readCredentials(request);
  if (key === undefined && cookie === undefined) return request.ip;
  return createHash('sha256')
    .update(JSON.stringify([key, cookie]))
    .digest('base64url');
}
