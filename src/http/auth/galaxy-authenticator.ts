/**
 * Authenticates callers with Galaxy's tables. A short cache in front of `CredentialCheck` keeps a storm of reconnecting
 * tabs, or of wrong keys, from costing many statements.
 */
import { LRUCache } from 'lru-cache';
import { LightconeError } from '../../core/errors.js';
import type { Principal, SessionId } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { Clock } from '../../lib/clock.js';
import type { Authentication } from './authentication.js';
import { ANONYMOUS } from './callers.js';
import {
  CredentialCheck,
  type CredentialCheckOptions,
  type LookUpPace,
  type LookUps,
} from './credential-check.js';
import { type CallerRequest, type Credentials, isPublicAbroad, readCredentials } from './credentials.js';
import type { RequestLimits } from './rate-limit.js';

/** A revoked key or session opens no new stream after this time; `recheck` ends open ones. */
const FRESH_MS = 5_000;
/**
 * While the database is unavailable, callers authenticated this recently are accepted: never longer than a stream may
 * outlive its permission.
 */
const STALE_MS = 60_000;
/** Long enough that a loop with a wrong key costs nothing, short enough that a new key works at once. */
const REFUSED_MS = 2_000;
const REMEMBERED = 20_000;
const UNPROVED_REMEMBERED = 5_000;
/**
 * Valid credentials are shorter. Longer ones are not cached, or strangers could fill the memory with 16 KiB at a time.
 */
const LONGEST_CACHE_KEY = 1_000;
/** Single look-ups go out at once; those of a crowd that reconnects after a restart share statements. */
const BATCHES: LookUpPace = { burst: 8, perSecond: 4, maxBatch: 1000, worthwhile: 128, untilPause: true };
/** Look-ups for guessing addresses: few statements, however many guesses. */
const GUESSES: LookUpPace = {
  burst: 1,
  perSecond: 4,
  maxBatch: 1000,
  worthwhile: Number.POSITIVE_INFINITY,
  untilPause: false,
  steady: true,
};

interface Remembered {
  principal: Principal;
  at: number;
}

/**
 * Credentials that prove nothing: wrong ones, and well-formed cookies without a session, whose callers are anonymous.
 */
interface Unproved {
  outcome: LightconeError | Principal;
  at: number;
}

export interface GalaxyAuthenticatorOptions extends CredentialCheckOptions {
  clock: Clock;
  /** Counts wrong credentials. */
  limits?: Pick<RequestLimits, 'isGuessing' | 'noteWrongCredential'>;
}

export class GalaxyAuthenticator implements Authentication {
  readonly #check: CredentialCheck;
  readonly #clock: Clock;
  readonly #known = new LRUCache<string, Remembered>({ max: REMEMBERED });
  // Separate from known callers, so that a flood of wrong keys cannot evict them.
  readonly #unproved = new LRUCache<string, Unproved>({ max: UNPROVED_REMEMBERED });
  readonly #limits: GalaxyAuthenticatorOptions['limits'];
  /** Running look-ups for addresses with many wrong credentials. */
  #guesses = 0;
  readonly #underway = new Map<string, Promise<Principal>>();
  /** Counts `forgetSession`. A look-up that was running then may have read outdated data. */
  #forgotten = 0;
  readonly #lookUps: LookUps;
  readonly #lookUpsOfGuesses: LookUps;

  constructor({ clock, limits, ...options }: GalaxyAuthenticatorOptions) {
    this.#limits = limits;
    this.#clock = clock;
    this.#check = new CredentialCheck(options);
    this.#lookUps = this.#check.lookUps(clock, BATCHES);
    this.#lookUpsOfGuesses = this.#check.lookUps(clock, GUESSES);
  }

  /**
   * Returns the same frozen object for equal credentials while it is cached.
   * @throws LightconeError CREDENTIALS_INVALID (bad key), MALFORMED_ID (cookie, run-as), RUN_AS_FORBIDDEN,
   * RUN_AS_UNKNOWN, PARAMETER_INVALID (a credential given twice), RATE_LIMITED, DATABASE_UNAVAILABLE
   */
  async authenticate(request: CallerRequest): Promise<Principal> {
    const credentials = readCredentials(request);
    if (!credentials.key && !credentials.cookie) return ANONYMOUS;
    if (isPublicAbroad(credentials.key, request)) {
      throw new LightconeError(
        'CREDENTIALS_INVALID',
        'the keys of the demo are public and valid on the same machine only; add users of your own (lightcone user add)',
      );
    }
    const name = cacheKeyOf(credentials);
    const known = this.#known.get(name);
    if (known && this.#age(known) < FRESH_MS) return known.principal;
    const unproved = this.#unproved.get(name);
    if (unproved && this.#age(unproved) < REFUSED_MS) {
      if (unproved.outcome instanceof LightconeError) throw unproved.outcome;
      return unproved.outcome;
    }

    let lookup = this.#underway.get(name);
    if (!lookup) {
      lookup = this.#admitted(request, name, credentials).finally(() => this.#underway.delete(name));
      this.#underway.set(name, lookup);
    }
    return lookup;
  }

  isSurelyStranger(request: CallerRequest): boolean {
    const credentials = readCredentials(request);
    if (!credentials.key && !credentials.cookie) return true;
    const name = cacheKeyOf(credentials);
    if (this.#known.has(name) || this.#underway.has(name)) return false;
    const unproved = this.#unproved.get(name);
    if (unproved && this.#age(unproved) < REFUSED_MS) return true;
    return this.#guesses >= LIMITS.guessesWaiting.value && this.#limits?.isGuessing(request) === true;
  }

  tryCached(request: CallerRequest): Principal | undefined {
    const credentials = readCredentials(request);
    if (!credentials.key && !credentials.cookie) return ANONYMOUS;
    if (isPublicAbroad(credentials.key, request)) return undefined;
    const name = cacheKeyOf(credentials);
    const known = this.#known.get(name);
    if (known && this.#age(known) < FRESH_MS) return known.principal;
    const unproved = this.#unproved.get(name);
    return unproved && this.#age(unproved) < REFUSED_MS && !(unproved.outcome instanceof LightconeError)
      ? unproved.outcome
      : undefined;
  }

  async recheck(principals: Iterable<Principal>): Promise<Set<Principal>> {
    const asked = [...principals];
    const valid = await this.#check.stillValid(asked);
    const revoked = new Set(asked.filter((principal) => !valid.has(principal)).map(proofOf));
    // A browser whose stream ends reconnects at once.
    if (revoked.size > 0) this.#forget((principal) => revoked.has(proofOf(principal)));
    return valid;
  }

  forgetSession(sessionId: SessionId): void {
    this.#forget((principal) => principal.sessionId === sessionId);
  }

  #forget(isOver: (principal: Principal) => boolean): void {
    this.#forgotten += 1;
    this.#underway.clear();
    for (const [name, { principal }] of [...this.#known.entries()]) {
      if (isOver(principal)) this.#known.delete(name);
    }
  }

  /** Strangers who guess get few of the look-ups, so that users are not delayed. */
  async #admitted(request: CallerRequest, name: string, credentials: Credentials): Promise<Principal> {
    const isGuessing = !this.#known.has(name) && this.#limits?.isGuessing(request) === true;
    if (
      this.#underway.size >= LIMITS.lookupsWaiting.value ||
      (isGuessing && this.#guesses >= LIMITS.guessesWaiting.value)
    ) {
      throw new LightconeError('RATE_LIMITED', 'too many callers are being looked up; try again soon', {
        retryAfterSeconds: 2,
      });
    }
    if (isGuessing) this.#guesses += 1;
    try {
      const lookUps = isGuessing ? this.#lookUpsOfGuesses : this.#lookUps;
      const principal = await this.#lookUp(name, credentials, lookUps);
      if (principal.credential.kind === 'none') this.#limits?.noteWrongCredential(request);
      return principal;
    } catch (error) {
      if (error instanceof LightconeError && !error.entry.retryable)
        this.#limits?.noteWrongCredential(request);
      throw error;
    } finally {
      if (isGuessing) this.#guesses -= 1;
    }
  }

  async #lookUp(name: string, credentials: Credentials, lookUps: LookUps): Promise<Principal> {
    try {
      const forgotten = this.#forgotten;
      const principal = Object.freeze(await this.#check.resolve(credentials, lookUps));
      if (principal.credential.kind === 'none') this.#rememberUnproved(name, principal);
      else if (forgotten === this.#forgotten && name.length <= LONGEST_CACHE_KEY) {
        this.#known.set(name, { principal, at: this.#clock.monotonic() });
      }
      return principal;
    } catch (error) {
      if (!(error instanceof LightconeError)) throw error;
      if (error.code === 'DATABASE_UNAVAILABLE' || error.code === 'DATABASE_SCHEMA') {
        const known = this.#known.get(name);
        if (known && this.#age(known) < STALE_MS) return known.principal;
      } else if (!error.entry.retryable) this.#rememberUnproved(name, error);
      throw error;
    }
  }

  #rememberUnproved(name: string, outcome: Unproved['outcome']): void {
    if (name.length > LONGEST_CACHE_KEY) return;
    this.#known.delete(name);
    // Thousands of stack traces would use megabytes.
    if (outcome instanceof Error) outcome.stack = '';
    this.#unproved.set(name, { outcome, at: this.#clock.monotonic() });
  }

  #age(entry: { at: number }): number {
    return this.#clock.monotonic() - entry.at;
  }
}

/**
 * JSON, because a query parameter may contain any character, and different credentials need different names. A cookie
 * alone, as browsers send it, is prefixed by a letter with which no JSON text starts.
 */
const cacheKeyOf = ({ key, cookie, runAs }: Credentials): string =>
  key === undefined && runAs === undefined ? `c${cookie}` : JSON.stringify([key, runAs, cookie]);

/** Equal for the same credential that acts for the same user. */
const proofOf = ({ userId, credential }: Principal): string =>
  `${userId} ${credential.kind === 'api_key' ? credential.key : credential.kind === 'session' ? credential.sessionId : ''}`;
