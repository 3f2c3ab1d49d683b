/** Authenticates callers through the application that embeds Lightcone. */
import type { IncomingMessage } from 'node:http';
import { LightconeError } from '../../core/errors.js';
import { MAX_ID, type Principal } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';
import { ThrottledLogger } from '../../telemetry/throttled-logger.js';
import type { Authentication } from './authentication.js';
import type { CallerRequest } from './credentials.js';

/** A caller, as the application knows it. */
export interface Caller {
  /** The id of a row of `galaxy_user`. Without it the caller receives broadcasts only. */
  userId?: number | undefined;
  /** Whether the caller may use administrator routes. Default: false. */
  isAdmin?: boolean | undefined;
  /**
   * Called about every 25 s while streams of this caller are open; false ends them. Without it they stay open until the
   * client closes them.
   */
  isValid?: (() => boolean | Promise<boolean>) | undefined;
}

/**
 * Called once for each request, so it should be fast. Undefined or null means an anonymous caller. To refuse a caller,
 * throw a `LightconeError` such as CREDENTIALS_INVALID. Any other error is logged, and the caller is asked to retry.
 */
export type Authenticate = (
  request: IncomingMessage,
) => Caller | undefined | null | Promise<Caller | undefined | null>;

/** Deadline of the application's answer. */
const ANSWER_MS = 10_000;
/** Time to wait for answers of `isValid`; later ones count in the next round. */
const PATIENCE_MS = 500;
/**
 * A stream ends if its caller was not confirmed for this long. The browser then reconnects and is authenticated again.
 */
const LONGEST_UNCONFIRMED_MS = 60_000;

/** The answers of `isValid` for one caller. */
interface Standing {
  isValid: () => boolean | Promise<boolean>;
  confirmedAt: number;
  isRevoked: boolean;
  isBeingAsked: boolean;
}

export class ApplicationAuthenticator implements Authentication {
  readonly #throttledLogger: ThrottledLogger;
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** Several hooks of one request share one call. */
  readonly #asked = new WeakMap<IncomingMessage, Promise<Principal>>();
  readonly #standings = new WeakMap<Principal, Standing>();
  #waiting = 0;

  constructor(
    private readonly ask: Authenticate,
    { logger, clock }: { logger: Logger; clock: Clock },
  ) {
    this.#throttledLogger = new ThrottledLogger(logger, clock);
    this.#clock = clock;
  }

  /** The application is called each time; it may have a cache of its own. */
  tryCached(): undefined {}

  isSurelyStranger(): boolean {
    return false;
  }

  forgetSession(): void {}

  /** @throws LightconeError AUTHENTICATION_UNAVAILABLE, RATE_LIMITED, or the error of the application */
  authenticate({ raw }: CallerRequest): Promise<Principal> {
    let answer = this.#asked.get(raw!);
    if (!answer) {
      answer = this.#callerOf(raw!);
      this.#asked.set(raw!, answer);
    }
    return answer;
  }

  async #callerOf(request: IncomingMessage): Promise<Principal> {
    if (this.#waiting >= LIMITS.lookupsWaiting.value) {
      throw new LightconeError('RATE_LIMITED', 'too many callers are being looked up; try again soon', {
        retryAfterSeconds: 2,
      });
    }
    this.#waiting += 1;
    try {
      const answer = (async () => this.ask(request))();
      const caller = await withDeadline(
        answer,
        ANSWER_MS,
        () => new Error(`no answer within ${ANSWER_MS / 1000} s`),
      );
      return this.#admit(caller ?? {});
    } catch (error) {
      if (error instanceof LightconeError) throw error;
      this.#throttledLogger.warn(
        { err: error },
        'authenticate function of the application failed: the caller is asked to retry',
      );
      throw new LightconeError('AUTHENTICATION_UNAVAILABLE', 'the caller cannot be identified now', {
        cause: error,
      });
    } finally {
      this.#waiting -= 1;
    }
  }

  #admit(caller: Caller): Principal {
    if (!isCaller(caller)) {
      throw new TypeError(
        'authenticate must return { userId?, isAdmin?, isValid? }, or undefined for an anonymous caller',
      );
    }
    const principal = principalOf(caller);
    if (caller.isValid) {
      this.#standings.set(principal, {
        isValid: caller.isValid,
        confirmedAt: this.#clock.monotonic(),
        isRevoked: false,
        isBeingAsked: false,
      });
    }
    return principal;
  }

  /** Never waits long and never rejects: a slow or failing function of the application affects only its caller. */
  async recheck(principals: Iterable<Principal>): Promise<Set<Principal>> {
    const all = [...principals];
    const answers = Promise.all(all.map((principal) => this.#confirm(principal)));
    await withDeadline(answers, PATIENCE_MS, () => new Error('late')).catch(() => {});
    return new Set(all.filter((principal) => this.#stands(principal)));
  }

  async #confirm(principal: Principal): Promise<void> {
    const standing = this.#standings.get(principal);
    if (standing === undefined || standing.isBeingAsked) return;
    standing.isBeingAsked = true;
    try {
      const isValid = await standing.isValid();
      if (typeof isValid !== 'boolean') throw new TypeError('isValid must return true or false');
      if (isValid) standing.confirmedAt = this.#clock.monotonic();
      else standing.isRevoked = true;
    } catch (err) {
      this.#throttledLogger.warn(
        { err },
        'isValid function of the application failed: streams that it does not confirm within 60 s are closed',
      );
    } finally {
      standing.isBeingAsked = false;
    }
  }

  #stands(principal: Principal): boolean {
    const standing = this.#standings.get(principal);
    return (
      standing === undefined ||
      (!standing.isRevoked && this.#clock.monotonic() - standing.confirmedAt < LONGEST_UNCONFIRMED_MS)
    );
  }
}

function isCaller(caller: Caller): boolean {
  if (typeof caller !== 'object') return false;
  const { userId, isAdmin, isValid } = caller;
  return (
    (userId === undefined || (Number.isInteger(userId) && userId > 0 && userId <= MAX_ID)) &&
    (isAdmin === undefined || typeof isAdmin === 'boolean') &&
    (isValid === undefined || typeof isValid === 'function')
  );
}

const principalOf = ({ userId, isAdmin = false, isValid }: Caller): Principal =>
  Object.freeze({
    userId,
    sessionId: undefined,
    isAdmin,
    credential:
      userId === undefined && !isAdmin && isValid === undefined
        ? { kind: 'none' as const }
        : { kind: 'application' as const },
  });
