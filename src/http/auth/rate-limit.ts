/**
 * Limits the requests of a caller by a token bucket. A request costs a token, an expensive one as many as its route
 * says. All keys and sessions of a user share a bucket; every other caller counts by address.
 */
import { LRUCache } from 'lru-cache';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { Clock } from '../../lib/clock.js';
import type { Addresses, Arrival } from './addresses.js';

const REMEMBERED_CALLERS = 20_000;
/** An address whose callers an untrusted proxy distinguishes gets as much as two callers. */
const OF_SEVERAL = 2;
/** The buckets of wrong credentials. */
const WRONG = 'wrong';
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
   * Takes tokens from the caller's own bucket, and from that of the whole address if a proxy distinguishes several
   * callers of it.
   * @param suffix selects a separate bucket of the same address
   * @throws LightconeError RATE_LIMITED with the time until there are enough tokens; it then takes none
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
    this.#spend(whole, cost, OF_SEVERAL);
  }

  /** @throws LightconeError RATE_LIMITED with the time until there are enough tokens */
  take(name: string, cost: number, message: string): void {
    this.#refuse(name, cost, message, 1);
    this.#spend(name, cost);
  }

  /** A cost above the size of a bucket needs a full one and leaves a debt, of at most one bucket. */
  #spend(name: string, cost: number, scale = 1): void {
    const left = Math.max(this.#tokens(name, scale) - cost, -Math.max(cost, this.burst * scale));
    this.#buckets.set(name, { tokens: left, at: this.clock.monotonic() });
  }

  /** Whether `takeOf` would refuse every request. */
  isExhausted(addresses: Addresses, arrival: Arrival, suffix = ''): boolean {
    const { network, claimed } = addresses.forLimits(arrival);
    const whole = `a${network} ${suffix}`;
    if (claimed === undefined) return this.#isEmpty(whole);
    return this.#isEmpty(`${whole} ${claimed}`) || this.#isEmpty(whole, OF_SEVERAL);
  }

  /** As `takeOf` if there are enough tokens. Otherwise it takes the rest; a caller with a claim pays alone. */
  spendOf(addresses: Addresses, arrival: Arrival, cost: number, suffix: string): void {
    const { network, claimed } = addresses.forLimits(arrival);
    const whole = `a${network} ${suffix}`;
    if (claimed === undefined) {
      this.#spend(whole, cost);
      return;
    }
    if (!this.#isEmpty(`${whole} ${claimed}`)) this.#spend(whole, cost, OF_SEVERAL);
    this.#spend(`${whole} ${claimed}`, cost);
  }

  #isEmpty(name: string, scale = 1): boolean {
    return this.#tokens(name, scale) < 1;
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
    this.#message = `rate limit of ${perSecond} requests a second exceeded (api_rate_limit): too many requests, or too many expensive ones`;
  }

  /** @throws LightconeError RATE_LIMITED */
  take(arrival: Arrival, { userId, credential }: Principal, cost = 1): void {
    if (userId !== undefined) this.#buckets?.take(`u${userId}`, cost, this.#message);
    else if (credential.kind === 'bootstrap_key') this.#buckets?.take('bootstrap', cost, this.#message);
    else this.#buckets?.takeOf(this.addresses, arrival, cost, this.#message);
  }

  /** Whether every request of a stranger from this address would be refused now. */
  isExhausted(arrival: Arrival): boolean {
    return this.#buckets?.isExhausted(this.addresses, arrival) ?? false;
  }

  /** Whether this address has recently sent many wrong credentials. */
  isGuessing(arrival: Arrival): boolean {
    return this.#buckets?.isExhausted(this.addresses, arrival, WRONG) ?? false;
  }

  /** Call it for each look-up that found nothing. */
  noteWrongCredential(arrival: Arrival): void {
    this.#buckets?.spendOf(this.addresses, arrival, LIMITS.wrongCredentialCost.value, WRONG);
  }
}
