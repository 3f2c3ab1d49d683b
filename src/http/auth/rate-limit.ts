/**
 * How much one caller may ask for: a bucket of tokens that fills again at a steady pace. A request costs a token, what is
 * dear costs more (`LIMITS.costs`). A user is counted as that user; everybody else, whatever they show, by their address.
 */
import { LRUCache } from 'lru-cache';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { Clock } from '../../lib/clock.js';
import type { Addresses, Arrival } from './addresses.js';

const REMEMBERED_CALLERS = 20_000;
/** An address whose callers are told apart by a proxy that is not trusted gets as much as two callers. */
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
    this.#spend(whole, cost, OF_SEVERAL);
  }

  /** @throws LightconeError RATE_LIMITED, with the time until there is enough again */
  take(name: string, cost: number, message: string): void {
    this.#refuse(name, cost, message, 1);
    this.#spend(name, cost);
  }

  /** What costs more than a bucket holds needs a full one, and leaves a debt: that of one bucket at most. */
  #spend(name: string, cost: number, scale = 1): void {
    const left = Math.max(this.#tokens(name, scale) - cost, -Math.max(cost, this.burst * scale));
    this.#buckets.set(name, { tokens: left, at: this.clock.monotonic() });
  }

  /** Whether `takeOf` would refuse whatever costs a token. */
  isExhausted(addresses: Addresses, arrival: Arrival, suffix = ''): boolean {
    const { network, claimed } = addresses.forLimits(arrival);
    const whole = `a${network} ${suffix}`;
    if (claimed === undefined) return this.#isEmpty(whole);
    return this.#isEmpty(`${whole} ${claimed}`) || this.#isEmpty(whole, OF_SEVERAL);
  }

  /** As `takeOf` where there is enough; where there is not, what is left is taken, and one that claims is all that pays. */
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
    this.#message = `more than ${perSecond} requests a second, or too many dear ones (api_rate_limit); slow down`;
  }

  /** @throws LightconeError RATE_LIMITED */
  take(arrival: Arrival, { userId, credential }: Principal, cost = 1): void {
    if (userId !== undefined) this.#buckets?.take(`u${userId}`, cost, this.#message);
    else if (credential.kind === 'bootstrap_key') this.#buckets?.take('bootstrap', cost, this.#message);
    else this.#buckets?.takeOf(this.addresses, arrival, cost, this.#message);
  }

  /** Whether a stranger from there would be refused now, whatever was asked for. */
  isExhausted(arrival: Arrival): boolean {
    return this.#buckets?.isExhausted(this.addresses, arrival) ?? false;
  }

  /** Whether this address has lately shown many credentials that were wrong. */
  isGuessing(arrival: Arrival): boolean {
    return this.#buckets?.isExhausted(this.addresses, arrival, WRONG) ?? false;
  }

  /** To be called for each look-up that found nothing. */
  noteWrongCredential(arrival: Arrival): void {
    this.#buckets?.spendOf(this.addresses, arrival, LIMITS.wrongCredentialCost.value, WRONG);
  }
}
