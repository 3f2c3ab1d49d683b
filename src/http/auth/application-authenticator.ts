/** Who is the caller, where the application that embeds Lightcone says so. */
import type { IncomingMessage } from 'node:http';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import { ThrottledLogger } from '../../telemetry/throttled-logger.js';
import type { Authentication } from './authentication.js';
import type { CallerRequest } from './credentials.js';

/** Who is asking, as the application knows it. */
export interface Caller {
  /** A row id of `galaxy_user`; left out: somebody who gets broadcasts only. */
  userId?: number | undefined;
  /** May use the routes of administrators. Default: false. */
  isAdmin?: boolean | undefined;
  /** Called about every 25 s while streams of this caller are open; false ends them. Left out: they last until they are closed. */
  isValid?: (() => boolean | Promise<boolean>) | undefined;
}

/**
 * Called once for each request, so it should be quick. Undefined or null is an anonymous caller. To refuse a caller, throw
 * a `LightconeError` such as CREDENTIALS_INVALID; anything else that is thrown is logged, and the caller is told to try again.
 */
export type Authenticate = (
  request: IncomingMessage,
) => Caller | undefined | null | Promise<Caller | undefined | null>;

export class ApplicationAuthenticator implements Authentication {
  readonly #complain: ThrottledLogger;

  constructor(
    private readonly ask: Authenticate,
    { logger, clock }: { logger: Logger; clock: Clock },
  ) {
    this.#complain = new ThrottledLogger(logger, clock);
  }

  /** The application is asked each time: what it remembers is its own business. */
  tryCached(): undefined {}

  forgetSession(): void {}

  async authenticate(request: CallerRequest): Promise<Principal> {
    const caller = await this.#asked(() => this.ask(request.raw!));
    if (caller === undefined || caller === null) return principalOf({});
    if (!isCaller(caller)) {
      return this.#unavailable(
        new TypeError('authenticate must return { userId?, isAdmin?, isValid? }, or undefined for nobody'),
      );
    }
    return principalOf(caller);
  }

  async recheck(principals: Iterable<Principal>): Promise<Set<Principal>> {
    const valid = new Set<Principal>();
    const look = async (principal: Principal): Promise<void> => {
      const { credential } = principal;
      if (
        credential.kind !== 'application' ||
        (await this.#asked(async () => credential.isValid?.() ?? true))
      )
        valid.add(principal);
    };
    await Promise.all([...principals].map(look));
    return valid;
  }

  async #asked<T>(ask: () => T | Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof LightconeError) throw error;
      return this.#unavailable(error);
    }
  }

  #unavailable(cause: unknown): never {
    this.#complain.warn(
      { err: cause },
      'the authenticate function of the application failed; the caller is told to try again',
    );
    throw new LightconeError('AUTHENTICATION_UNAVAILABLE', 'the caller cannot be identified now', { cause });
  }
}

function isCaller({ userId, isAdmin, isValid }: Caller): boolean {
  return (
    (userId === undefined || (Number.isSafeInteger(userId) && userId > 0)) &&
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
        : { kind: 'application' as const, isValid },
  });
