/**
 * Verifies credentials, and checks whether they are still valid: the rules of the contract, section 5.1, in its order,
 * on Galaxy's tables.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { AuthConfig } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';
import type { Principal, UserId } from '../../core/events.js';
import type { Accounts, SessionAccount, UserAccount } from '../../database/port.js';
import { Batcher, type BatcherOptions } from '../../lib/batcher.js';
import type { Clock } from '../../lib/clock.js';
import { ANONYMOUS } from './callers.js';
import type { Credentials } from './credentials.js';
import type { IdCodec } from './id-codec.js';

const RECHECK_BATCH = 1000;

export type LookUpPace = Omit<BatcherOptions<unknown, unknown>, 'ask' | 'clock'>;

/** `api_keys.key` holds 32 characters. Text that cannot be a key needs no statement. */
const KEY_FORM = /^[\x21-\x7e]{1,64}$/;

/** What a key proves, before session and run-as are checked. */
interface KeyHolder {
  userId: UserId | undefined;
  email: string | undefined;
  /** By `admin_users`, by the flag of the account, or because it is the bootstrap key. */
  isAdmin: boolean;
  isBootstrap: boolean;
}

/** Look-ups that share statements, at their own rate. */
export interface LookUps {
  sessions: Batcher<string, SessionAccount | undefined>;
  users: Batcher<string, UserAccount | undefined>;
}

export interface CredentialCheckOptions {
  accounts: Accounts;
  idCodec: IdCodec;
  auth: Pick<AuthConfig, 'adminUsers' | 'apiAllowRunAs' | 'bootstrapAdminApiKey'>;
}

export class CredentialCheck {
  readonly #accounts: Accounts;
  readonly #idCodec: IdCodec;
  readonly #admins: ReadonlySet<string>;
  readonly #mayRunAs: ReadonlySet<string>;
  readonly #bootstrapDigest: Buffer | undefined;

  constructor({ accounts, idCodec, auth }: CredentialCheckOptions) {
    this.#accounts = accounts;
    this.#idCodec = idCodec;
    this.#admins = new Set(auth.adminUsers);
    this.#mayRunAs = new Set(auth.apiAllowRunAs);
    this.#bootstrapDigest = auth.bootstrapAdminApiKey ? digest(auth.bootstrapAdminApiKey) : undefined;
  }

  lookUps(clock: Clock, pace: LookUpPace): LookUps {
    return {
      sessions: lookUp((keys) => this.#accounts.sessionsByKeys(keys), clock, pace),
      users: lookUp((keys) => this.#accounts.usersByApiKeys(keys), clock, pace),
    };
  }

  async resolve({ key, cookie, runAs }: Credentials, lookUps: LookUps): Promise<Principal> {
    // The key comes first: a wrong one is an error even beside a valid cookie.
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

  /** @returns undefined for a well-formed cookie of an unknown or ended session; the caller is then anonymous */
  #sessionOf(cookie: string, { sessions }: LookUps): Promise<SessionAccount | undefined> {
    const sessionKey = this.#idCodec.decodeSessionKey(cookie);
    if (sessionKey === undefined) {
      throw new LightconeError(
        'MALFORMED_ID',
        'the galaxysession cookie cannot be decoded: it is damaged, or another id_secret was used',
      );
    }
    return sessions.get(sessionKey);
  }

  /** The rights of the other user count, not those of the key's owner. */
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

  /**
   * Returns those that are still valid: the session is valid and belongs to the same user, the key is accepted, the
   * user acted for is not deleted, an administrator still is one. Anonymous callers and the bootstrap key itself are
   * always valid. At most four statements per 1,000 principals.
   * @throws LightconeError DATABASE_UNAVAILABLE: unknown; try again later
   */
  async stillValid(asked: readonly Principal[]): Promise<Set<Principal>> {
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
        // A caller who acts for an administrator has the rights of the settings, not of the account's flag.
        const isFlagged = user?.isAdmin === true && !actsForAnother(principal);
        if (!isFlagged && !this.#isAdminEmail(user?.email)) valid.delete(principal);
      }
    }
    return valid;
  }

  #isAdminEmail(email: string | undefined): boolean {
    return email !== undefined && this.#admins.has(email.toLowerCase());
  }
}

function lookUp<Account>(
  read: (keys: readonly string[]) => Promise<Map<string, Account>>,
  clock: Clock,
  pace: LookUpPace,
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

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

const distinct = <T>(pairs: readonly [Principal, T][]): T[] => [...new Set(pairs.map(([, value]) => value))];

function* batches<T>(items: readonly T[]): Generator<T[]> {
  for (let start = 0; start < items.length; start += RECHECK_BATCH)
    yield items.slice(start, start + RECHECK_BATCH);
}
