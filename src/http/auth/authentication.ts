import type { Principal, SessionId } from '../../core/events.js';
import type { CallerRequest } from './credentials.js';

/** Who calls, and whether it still holds: by Galaxy's tables, or by the application that embeds Lightcone. */
export interface Authentication {
  /**
   * The same frozen object for equal credentials while it is remembered.
   *
   * @throws LightconeError CREDENTIALS_INVALID (bad key), MALFORMED_ID (cookie, run-as), RUN_AS_FORBIDDEN, RUN_AS_UNKNOWN,
   * PARAMETER_INVALID (a credential given twice), RATE_LIMITED, DATABASE_UNAVAILABLE, AUTHENTICATION_UNAVAILABLE
   */
  authenticate(request: CallerRequest): Promise<Principal>;
  /** The answer, if it needs no waiting; undefined means "ask `authenticate`". Throws only for a credential given twice. */
  tryCached(request: CallerRequest): Principal | undefined;
  /** Whether the caller is surely no known user: it shows no credential, a wrong one, or `authenticate` would refuse it at once. */
  isSurelyStranger(request: CallerRequest): boolean;
  /**
   * Which of these still hold.
   *
   * @throws LightconeError DATABASE_UNAVAILABLE: nothing can be said; ask again later
   */
  recheck(principals: Iterable<Principal>): Promise<Set<Principal>>;
  /** For a session that has just ended: nothing that was read of it before counts any more. */
  forgetSession(sessionId: SessionId): void;
}
