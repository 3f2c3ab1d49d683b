import type { Principal, SessionId } from '../../core/events.js';
import type { CallerRequest } from './credentials.js';

/**
 * Authenticates callers and checks whether they are still valid: with Galaxy's tables, or through the embedding
 * application.
 */
export interface Authentication {
  /**
   * Returns the same frozen object for equal credentials while it is cached.
   * @throws LightconeError CREDENTIALS_INVALID (bad key), MALFORMED_ID (cookie, run-as), RUN_AS_FORBIDDEN,
   * RUN_AS_UNKNOWN, PARAMETER_INVALID (a credential given twice), RATE_LIMITED, DATABASE_UNAVAILABLE,
   * AUTHENTICATION_UNAVAILABLE
   */
  authenticate(request: CallerRequest): Promise<Principal>;
  /** The cached answer; undefined means "call `authenticate`". Throws only for a credential given twice. */
  tryCached(request: CallerRequest): Principal | undefined;
  /**
   * Whether the caller is surely no known user: it has no credential, a wrong one, or `authenticate` would refuse it at
   * once.
   */
  isSurelyStranger(request: CallerRequest): boolean;
  /**
   * Returns those that are still valid.
   * @throws LightconeError DATABASE_UNAVAILABLE: unknown; try again later
   */
  recheck(principals: Iterable<Principal>): Promise<Set<Principal>>;
  /** Invalidates everything that was read of a session that has just ended. */
  forgetSession(sessionId: SessionId): void;
}
