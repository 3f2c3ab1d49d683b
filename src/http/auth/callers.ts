/** Requirements for an authenticated caller. */
import { LightconeError } from '../../core/errors.js';
import type { Principal, SessionId, UserId } from '../../core/events.js';

/** A caller without credentials, or with credentials that prove nothing. */
export const ANONYMOUS: Principal = Object.freeze<Principal>({
  userId: undefined,
  sessionId: undefined,
  isAdmin: false,
  credential: { kind: 'none' },
});

/** @throws LightconeError LOGIN_REQUIRED, or REAL_USER_REQUIRED for the bootstrap key */
export function requireUser({ userId, credential }: Principal): UserId {
  if (userId !== undefined) return userId;
  if (credential.kind === 'bootstrap_key') {
    throw new LightconeError(
      'REAL_USER_REQUIRED',
      'the bootstrap key belongs to no user; use the key of a user',
    );
  }
  throw new LightconeError('LOGIN_REQUIRED', 'this needs a login or an API key');
}

/** @throws LightconeError ADMIN_REQUIRED */
export function requireAdmin({ isAdmin }: Principal): void {
  if (!isAdmin) throw new LightconeError('ADMIN_REQUIRED', 'only administrators may do this (admin_users)');
}

/** An owner of items: a user, or an anonymous session of a browser. */
export type Owner = { userId: UserId } | { sessionId: SessionId };

export function ownerOf({ userId, sessionId }: Pick<Principal, 'userId' | 'sessionId'>): Owner | undefined {
  if (userId !== undefined) return { userId };
  return sessionId === undefined ? undefined : { sessionId };
}

/** @throws LightconeError as `requireUser`, if the caller has no session either */
export const requireOwner = (principal: Principal): Owner =>
  ownerOf(principal) ?? { userId: requireUser(principal) };
