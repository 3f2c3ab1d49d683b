/**
 * How much one caller may ask for: a bucket of tokens that fills again at a steady pace. A request costs a token, what is
 * dear costs more (`LIMITS.costs`). A user is counted as that user; everybody else, whatever they show, by their address.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import type { Addresses, Arrival } from '../core/addresses.js';
import type { Clock } from '../core/clock.js';
import { LightconeError } from '../core/errors.js';
import type { Principal } from '../core/events.js';
import { LIMITS } from '../core/limits.js';
import type { Authenticator } from './authentication.js';

const REMEMBERED_CALLERS = 20_000;
/** An address whose callers are told apart by a proxy that is not trusted gets as much as two callers. */
const OF_SEVERAL = 2;
/** Asked for by machines that watch over this one, and by the browser itself. */
const LIMITED = /^\/(api|history)\//;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Tokens that a request takes; 1 where nothing is said. */
    cost?: number;
  }
}

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

  /**
   * Takes from the caller's own bucket; from that of the whole address too where a proxy tells several callers of it apart.
   *
   * @param suffix makes a bucket of its own for something else that the same address asks for
   * @throws LightconeError RATE_LIMITED, with the time until there is enough again; then nothing was taken
   */
  takeOf(addresses: Addresses, arrival: Arrival, cost: number, message: string, suffix = ''): void {
    const { network, claimed } = addresses.forLimits(arrival);
    const whole = `a${network} ${suffix}`;
    if (claimed === undefined) {
      this.take(whole, cost, message);
      return;
    }
    this.#refuse(whole, cost, message, OF_SEVERAL);
    this.take(`${whole} ${claimed}`, cost, message);
    this.spend(whole, cost, OF_SEVERAL);
  }

  /** @throws LightconeError RATE_LIMITED, with the time until there is enough again */
  take(name: string, cost: number, message: string): void {
    this.#refuse(name, cost, message, 1);
    this.spend(name, cost);
  }

  /** What costs more than a bucket holds needs a full one, and leaves a debt. */
  spend(name: string, cost: number, scale = 1): void {
    this.#buckets.set(name, { tokens: this.#tokens(name, scale) - cost, at: this.clock.monotonic() });
  }

  isEmpty(name: string): boolean {
    return this.#tokens(name, 1) < 1;
  }

  #refuse(name: string, cost: number, message: string, scale: number): void {
    const missing = Math.min(cost, this.burst * scale) - this.#tokens(name, scale);
    if (missing <= 0) return;
    throw new LightconeError('RATE_LIMITED', message, {
      retryAfterSeconds: missing / (this.perSecond * scale),
    });
  }

  #tokens(name: string, scale: number): number {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) return this.burst * scale;
    const filled = bucket.tokens + ((this.clock.monotonic() - bucket.at) / 1000) * this.perSecond * scale;
    return Math.min(this.burst * scale, filled);
  }
}

export class RequestLimits {
  readonly #buckets: TokenBuckets | undefined;
  readonly #message: string;

  /** @param perSecond tokens per second and caller; 0 = no limit */
  constructor(
    perSecond: number,
    readonly addresses: Addresses,
    clock: Clock,
  ) {
    this.#buckets =
      perSecond > 0
        ? new TokenBuckets(perSecond, Math.max(1, perSecond * LIMITS.burstSeconds.value), clock)
        : undefined;
    this.#message = `more than ${perSecond} requests a second, or too many dear ones (api_rate_limit); slow down`;
  }

  /** @throws LightconeError RATE_LIMITED */
  take(arrival: Arrival, { userId, credential }: Principal, cost = 1): void {
    if (userId !== undefined) this.#buckets?.take(`u${userId}`, cost, this.#message);
    else if (credential.kind === 'bootstrap_key') this.#buckets?.take('bootstrap', cost, this.#message);
    else this.#buckets?.takeOf(this.addresses, arrival, cost, this.#message);
  }

  /** Whether this address has lately shown many credentials that were wrong. */
  isGuessing(arrival: Arrival): boolean {
    return this.#buckets?.isEmpty(this.#guesses(arrival)) ?? false;
  }

  /** To be called for each look-up that found nothing. */
  noteWrongCredential(arrival: Arrival): void {
    this.#buckets?.spend(this.#guesses(arrival), LIMITS.wrongCredentialCost.value);
  }

  #guesses(arrival: Arrival): string {
    const { network, claimed = '' } = this.addresses.forLimits(arrival);
    return `a${network} wrong ${claimed}`;
  }

  /**
   * onRequest hook for the API, not for the stream: by the route that was found, not by the URL as it was written. What the
   * caller shows is looked up first, so that a user is not refused for what strangers at the same address do.
   */
  hook(
    authenticator: Authenticator,
    prefix: string,
  ): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
    return async (request) => {
      const { url = '', config } = request.routeOptions;
      if (!LIMITED.test(url.slice(prefix.length))) return;
      this.take(request, await callerOf(authenticator, request), config.cost);
    };
  }
}

const NOBODY: Principal = Object.freeze<Principal>({
  userId: undefined,
  sessionId: undefined,
  isAdmin: false,
  credential: { kind: 'none' },
});

/** Whoever cannot be told who it is counts as nobody; the route itself says what was wrong. */
async function callerOf(authenticator: Authenticator, request: FastifyRequest): Promise<Principal> {
  try {
    return authenticator.tryCached(request) ?? (await authenticator.authenticate(request));
  } catch {
    return NOBODY;
  }
}
