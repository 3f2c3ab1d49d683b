/**
 * Who is the caller: the rules of the contract, section 5.1, in its order, with a short memory in front of the database
 * so that a storm of reconnecting tabs, or of wrong keys, costs few statements.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { AuthConfig } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';
import type { Principal, SessionId, UserId } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import { DEMO_KEYS } from '../../database/demo-keys.js';
import type { Accounts, SessionAccount, UserAccount } from '../../database/port.js';
import { Batcher } from '../../lib/batcher.js';
import type { Clock } from '../../lib/clock.js';
import { type Arrival, isOnThisMachine } from './addresses.js';
import { type CallerRequest, type Credentials, readCredentials } from './credentials.js';
import type { IdCodec } from './id-codec.js';
import type { RequestLimits } from './rate-limit.js';

/** A revoked key or session opens no new stream after this time; an open one is ended by `recheck`. */
const FRESH_MS = 5_000;
/** While the database is away, callers it knew this recently are let in: never longer than a stream may outlive its permission. */
const STALE_MS = 60_000;
/** Long enough that a client in a loop with a wrong key costs nothing, short enough that a new key works at once. */
const REFUSED_MS = 2_000;
const REMEMBERED = 20_000;
const UNPROVED_REMEMBERED = 5_000;
/** Valid credentials are shorter. Longer ones are not kept, or strangers could fill the memory with 16 KiB at a time. */
const LONGEST_NAME = 1_000;
/** Lone look-ups go out at once; those of a crowd that reconnects after a restart share statements. */
const BATCHES = { burst: 8, perSecond: 4, maxBatch: 1000, worthwhile: 128, untilPause: true };
/** Those of addresses that guess: few statements, however many guesses. */
const GUESSES = {
  burst: 1,
  perSecond: 4,
  maxBatch: 1000,
  worthwhile: Number.POSITIVE_INFINITY,
  untilPause: false,
  steady: true,
};
const RECHECK_BATCH = 1000;

/** `api_keys.key` holds 32 characters; what cannot be a key is not worth a statement. */
const KEY_FORM = /^[\x21-\x7e]{1,64}$/;

const ANONYMOUS: Principal = Object.freeze<Principal>({
  userId: undefined,
  sessionId: undefined,
  isAdmin: false,
  credential: { kind: 'none' },
});

/** What a key proves, before session and run-as are looked at. */
interface KeyHolder {
  userId: UserId | undefined;
  email: string | undefined;
  /** By `admin_users`, or by the flag of the account, or because it is the bootstrap key. */
  isAdmin: boolean;
  isBootstrap: boolean;
}

interface Remembered {
  principal: Principal;
  at: number;
}

/** Credentials that prove nothing: wrong ones, and well-formed cookies of no session, whose callers are anonymous. */
interface Unproved {
  outcome: LightconeError | Principal;
  at: number;
}

export interface AuthenticatorOptions {
  accounts: Accounts;
  idCodec: IdCodec;
  auth: Pick<AuthConfig, 'adminUsers' | 'apiAllowRunAs' | 'bootstrapAdminApiKey'>;
  clock: Clock;
  /** Where wrong credentials are counted. */
  limits?: Pick<RequestLimits, 'isGuessing' | 'noteWrongCredential'>;
}

/** Who calls, and whether it still holds: by Galaxy's tables, or by the application that embeds Lightcone. */
export type Authentication = Pick<
  Authenticator,
  'tryCached' | 'authenticate' | 'isSurelyStranger' | 'recheck' | 'forgetSession'
>;

export class Authenticator {
  readonly #accounts: Accounts;
  readonly #idCodec: IdCodec;
  readonly #clock: Clock;
  readonly #admins: ReadonlySet<string>;
  readonly #mayRunAs: ReadonlySet<string>;
  readonly #bootstrapDigest: Buffer | undefined;
  readonly #known = new LRUCache<string, Remembered>({ max: REMEMBERED });
  // Apart from the known callers, so that a flood of wrong keys cannot push those out.
  readonly #unproved = new LRUCache<string, Unproved>({ max: UNPROVED_REMEMBERED });
  readonly #limits: AuthenticatorOptions['limits'];
  /** Look-ups under way for addresses that have shown many wrong credentials. */
  #guesses = 0;
  readonly #underway = new Map<string, Promise<Principal>>();
  /** Counts `forgetSession`: a lookup that was under way then may have read what is no longer true. */
  #forgotten = 0;
  readonly #lookUps: LookUps;
  readonly #lookUpsOfGuesses: LookUps;

  constructor({ accounts, idCodec, auth, clock, limits }: AuthenticatorOptions) {
    this.#limits = limits;
    this.#accounts = accounts;
    this.#idCodec = idCodec;
    this.#clock = clock;
    this.#admins = new Set(auth.adminUsers);
    this.#mayRunAs = new Set(auth.apiAllowRunAs);
    this.#bootstrapDigest = auth.bootstrapAdminApiKey ? digest(auth.bootstrapAdminApiKey) : undefined;
    this.#lookUps = lookUps(accounts, clock, BATCHES);
    this.#lookUpsOfGuesses = lookUps(accounts, clock, GUESSES);
  }

  /**
   * The same frozen object for equal credentials while it is remembered.
   *
   * @throws LightconeError CREDENTIALS_INVALID (bad key), MALFORMED_ID (cookie, run-as), RUN_AS_FORBIDDEN, RUN_AS_UNKNOWN,
   * PARAMETER_INVALID (a credential given twice), RATE_LIMITED, DATABASE_UNAVAILABLE
   */
  async authenticate(request: CallerRequest): Promise<Principal> {
    const credentials = readCredentials(request);
    if (!credentials.key && !credentials.cookie) return ANONYMOUS;
    if (isPublicAbroad(credentials.key, request)) {
      throw new LightconeError(
        'CREDENTIALS_INVALID',
        'the keys of the demo are public: they hold for callers on the same machine only; make users of your own (lightcone user add)',
      );
    }
    const name = nameOf(credentials);
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

  /** Whether `authenticate` would refuse at once, or the caller is a stranger: what it asks for is nobody's whom we know. */
  isSurelyStranger(request: CallerRequest): boolean {
    const credentials = readCredentials(request);
    if (!credentials.key && !credentials.cookie) return true;
    const name = nameOf(credentials);
    if (this.#known.has(name) || this.#underway.has(name)) return false;
    const unproved = this.#unproved.get(name);
    if (unproved && this.#age(unproved) < REFUSED_MS) return true;
    return this.#guesses >= LIMITS.guessesWaiting.value && this.#limits?.isGuessing(request) === true;
  }

  /**
   * The answer, if it needs no waiting; undefined means "ask `authenticate`". Throws only for a credential given twice.
   */
  tryCached(request: CallerRequest): Principal | undefined {
    const credentials = readCredentials(request);
    if (!credentials.key && !credentials.cookie) return ANONYMOUS;
    if (isPublicAbroad(credentials.key, request)) return undefined;
    const name = nameOf(credentials);
    const known = this.#known.get(name);
    if (known && this.#age(known) < FRESH_MS) return known.principal;
    const unproved = this.#unproved.get(name);
    return unproved && this.#age(unproved) < REFUSED_MS && !(unproved.outcome instanceof LightconeError)
      ? unproved.outcome
      : undefined;
  }

  /**
   * Which of these still hold: session valid and still of the same user, key still accepted, the user acted for not
   * deleted, an administrator's right still there. Anonymous callers and the bootstrap key itself always do. Four
   * statements per 1,000 principals at most.
   *
   * @throws LightconeError DATABASE_UNAVAILABLE: nothing can be said; ask again later
   */
  async recheck(principals: Iterable<Principal>): Promise<Set<Principal>> {
    const asked = [...principals];
    const valid = new Set<Principal>();
    const bySession: [Principal, number][] = [];
    const byKey: [Principal, string][] = [];
    const actingFor: [Principal, UserId][] = [];
    const admins: [Principal, UserId][] = [];
    for (const principal of asked) {
      const { credential } = principal;
      if (credential.kind === 'session') bySession.push([principal, credential.sessionId]);
      else if (credential.kind === 'api_key') byKey.push([principal, credential.key]);
      else valid.add(principal);
      if (principal.userId !== undefined && actsForAnother(principal))
        actingFor.push([principal, principal.userId]);
      if (principal.userId !== undefined && principal.isAdmin) admins.push([principal, principal.userId]);
    }
    for (const batch of batches(bySession)) {
      const sessions = await this.#accounts.validSessions(distinct(batch));
      for (const [principal, sessionId] of batch) {
        if (sessions.has(sessionId) && sessions.get(sessionId) === principal.userId) valid.add(principal);
      }
    }
    for (const batch of batches(byKey)) {
      const keys = await this.#accounts.validApiKeys(distinct(batch));
      for (const [principal, key] of batch) if (keys.has(key)) valid.add(principal);
    }
    for (const batch of batches(actingFor)) {
      const users = await this.#accounts.emailsOf(distinct(batch));
      for (const [principal, userId] of batch) if (!users.has(userId)) valid.delete(principal);
    }
    for (const batch of batches(admins)) {
      const users = await this.#accounts.adminFlags(distinct(batch));
      for (const [principal, userId] of batch) {
        const user = users.get(userId);
        // Whoever acts for an administrator has what the settings give, not the account's flag.
        const isFlagged = user?.isAdmin === true && !actsForAnother(principal);
        if (!isFlagged && !this.#isAdminEmail(user?.email)) valid.delete(principal);
      }
    }
    const revoked = new Set(asked.filter((principal) => !valid.has(principal)).map(proofOf));
    // A browser whose stream ends comes back at once.
    if (revoked.size > 0) this.#forget((principal) => revoked.has(proofOf(principal)));
    return valid;
  }

  /** For a session that has just ended: nothing that was read of it before counts any more. */
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

  /** Strangers who guess get few of the look-ups, so that those of users go on. */
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
      const principal = Object.freeze(await this.#resolve(credentials, lookUps));
      if (principal.credential.kind === 'none') this.#rememberUnproved(name, principal);
      else if (forgotten === this.#forgotten && name.length <= LONGEST_NAME) {
        this.#known.set(name, { principal, at: this.#clock.monotonic() });
      }
      return principal;
    } catch (error) {
      if (!(error instanceof LightconeError)) throw error;
      if (error.code === 'DATABASE_UNAVAILABLE') {
        const known = this.#known.get(name);
        if (known && this.#age(known) < STALE_MS) return known.principal;
      } else if (!error.entry.retryable) this.#rememberUnproved(name, error);
      throw error;
    }
  }

  #rememberUnproved(name: string, outcome: Unproved['outcome']): void {
    if (name.length > LONGEST_NAME) return;
    this.#known.delete(name);
    // Thousands of stacks, with all that hangs on them, are megabytes.
    if (outcome instanceof Error) outcome.stack = '';
    this.#unproved.set(name, { outcome, at: this.#clock.monotonic() });
  }

  async #resolve({ key, cookie, runAs }: Credentials, lookUps: LookUps): Promise<Principal> {
    // The key comes first: a wrong one is an error even beside a good cookie.
    const holder = key === undefined ? undefined : await this.#holderOf(key, lookUps);
    const session = cookie === undefined ? undefined : await this.#sessionOf(cookie, lookUps);
    if (session) {
      const { sessionId, userId } = session;
      return {
        userId,
        sessionId,
        isAdmin: session.isAdmin || this.#isAdminEmail(session.email),
        credential: { kind: 'session', sessionId },
      };
    }
    if (!holder || key === undefined) return ANONYMOUS;
    const target = runAs === undefined ? undefined : await this.#runAs(holder, runAs);
    const { userId, isAdmin } = target ?? holder;
    return {
      userId,
      sessionId: undefined,
      isAdmin,
      credential:
        holder.userId === undefined
          ? { kind: 'bootstrap_key' }
          : { kind: 'api_key', key, userId: holder.userId },
    };
  }

  async #holderOf(key: string, { users }: LookUps): Promise<KeyHolder> {
    if (this.#bootstrapDigest && timingSafeEqual(digest(key), this.#bootstrapDigest)) {
      return { userId: undefined, email: undefined, isAdmin: true, isBootstrap: true };
    }
    const user = KEY_FORM.test(key) ? await users.get(key) : undefined;
    if (!user) throw new LightconeError('CREDENTIALS_INVALID', 'the API key is not valid');
    const { userId, email, isAdmin } = user;
    return { userId, email, isAdmin: isAdmin || this.#isAdminEmail(email), isBootstrap: false };
  }

  /** @returns undefined when the cookie is well-formed but its session is unknown or over: the caller is then anonymous */
  #sessionOf(cookie: string, { sessions }: LookUps): Promise<SessionAccount | undefined> {
    const sessionKey = this.#idCodec.decodeSessionKey(cookie);
    if (sessionKey === undefined) {
      throw new LightconeError(
        'MALFORMED_ID',
        'the galaxysession cookie cannot be decoded: it is damaged, or was made with another id_secret',
      );
    }
    return sessions.get(sessionKey);
  }

  /** The other user's rights count, not those of the key's owner. */
  async #runAs(holder: KeyHolder, runAs: string): Promise<{ userId: UserId; isAdmin: boolean }> {
    if (!holder.isBootstrap && !this.#mayRunAs.has(holder.email?.toLowerCase() ?? '')) {
      throw new LightconeError(
        'RUN_AS_FORBIDDEN',
        'this API key may not act for another user (api_allow_run_as)',
      );
    }
    const userId = this.#idCodec.decodeId(runAs);
    if (userId === undefined) throw new LightconeError('MALFORMED_ID', 'run-as is not an encoded user id');
    const email = (await this.#accounts.emailsOf([userId])).get(userId);
    if (email === undefined)
      throw new LightconeError('RUN_AS_UNKNOWN', 'the user given in run-as does not exist');
    return { userId, isAdmin: this.#isAdminEmail(email) };
  }

  #isAdminEmail(email: string | undefined): boolean {
    return email !== undefined && this.#admins.has(email.toLowerCase());
  }

  #age(entry: { at: number }): number {
    return this.#clock.monotonic() - entry.at;
  }
}

interface LookUps {
  sessions: Batcher<string, SessionAccount | undefined>;
  users: Batcher<string, UserAccount | undefined>;
}

const lookUps = (accounts: Accounts, clock: Clock, pace: typeof BATCHES): LookUps => ({
  sessions: lookUp((keys) => accounts.sessionsByKeys(keys), clock, pace),
  users: lookUp((keys) => accounts.usersByApiKeys(keys), clock, pace),
});

function lookUp<Account>(
  read: (keys: readonly string[]) => Promise<Map<string, Account>>,
  clock: Clock,
  pace: typeof BATCHES,
): Batcher<string, Account | undefined> {
  return new Batcher({
    ...pace,
    clock,
    ask: async (keys) => {
      const found = await read(keys);
      return keys.map((key) => found.get(key));
    },
  });
}

const actsForAnother = ({ userId, credential }: Principal): boolean =>
  credential.kind === 'bootstrap_key' || (credential.kind === 'api_key' && credential.userId !== userId);

/**
 * JSON, because a query parameter can hold any character: no two sets of credentials may share a name. A browser's, which
 * is a cookie only, needs no more than a letter that JSON does not begin with.
 */
const nameOf = ({ key, cookie, runAs }: Credentials): string =>
  key === undefined && runAs === undefined ? `c${cookie}` : JSON.stringify([key, runAs, cookie]);

/** A secret that everybody knows, shown by somebody who may be anybody. */
export const isPublicAbroad = (secret: string | undefined, arrival: Arrival): boolean =>
  secret !== undefined && DEMO_KEYS.has(secret) && !isOnThisMachine(arrival);

/** Equal where the same credential acts for the same user. */
const proofOf = ({ userId, credential }: Principal): string =>
  `${userId} ${credential.kind === 'api_key' ? credential.key : credential.kind === 'session' ? credential.sessionId : ''}`;

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

const distinct = <T>(pairs: readonly [Principal, T][]): T[] => [...new Set(pairs.map(([, value]) => value))];

function* batches<T>(items: readonly T[]): Generator<T[]> {
  for (let start = 0; start < items.length; start += RECHECK_BATCH)
    yield items.slice(start, start + RECHECK_BATCH);
}
