/** Who may do what, and ids on their way in: the same words for every resource. */
import { LightconeError } from '../core/errors.js';
import type { Principal, SessionId, UserId } from '../core/events.js';
import type { Authentication } from '../http/auth/authentication.js';
import type { IdCodec } from '../http/auth/id-codec.js';
import { type Micros, parseIso } from '../lib/time.js';

/** What the routes of every resource need. */
export interface RouteContext {
  authenticator: Authentication;
  idCodec: IdCodec;
}

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

/** Whoever can own something: a user, or a browser session that nobody signed in to. */
export type Owner = { userId: UserId } | { sessionId: SessionId };

export function ownerOf({ userId, sessionId }: Pick<Principal, 'userId' | 'sessionId'>): Owner | undefined {
  if (userId !== undefined) return { userId };
  return sessionId === undefined ? undefined : { sessionId };
}

/** @throws LightconeError as `requireUser`, where the caller has no session either */
export const requireOwner = (principal: Principal): Owner =>
  ownerOf(principal) ?? { userId: requireUser(principal) };

/** @param what named in the error. @throws LightconeError MALFORMED_ID */
export function decodeId(idCodec: IdCodec, text: string, what: string): number {
  const id = idCodec.decodeId(text);
  if (id === undefined) {
    throw new LightconeError('MALFORMED_ID', `${JSON.stringify(text)} is not an encoded ${what} id`);
  }
  return id;
}

/** Each id once, in the order given. @throws LightconeError MALFORMED_ID */
export const decodeIds = (idCodec: IdCodec, texts: readonly string[], what: string): number[] => [
  ...new Set(texts.map((text) => decodeId(idCodec, text, what))),
];

/** @throws LightconeError PARAMETER_INVALID */
export function parseMoment(text: string, name: string): Micros {
  const moment = parseIso(text);
  if (moment === undefined) {
    throw new LightconeError(
      'PARAMETER_INVALID',
      `${name} is ${JSON.stringify(text)}; write an ISO date-time such as 2026-07-01T12:34:56`,
    );
  }
  return moment;
}
