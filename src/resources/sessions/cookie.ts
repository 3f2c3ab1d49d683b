import type { FastifyReply, FastifyRequest } from 'fastify';
import { SESSION_COOKIE } from '../../http/auth/credentials.js';
import { schemeOf } from '../forwarded-proto.js';

const MAX_AGE_SECONDS = 90 * 86_400;

export interface CookieSettings {
  cookiePath: string;
  cookieDomain: string | undefined;
}

/** @param value undefined removes the cookie */
export function setSessionCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  { cookiePath, cookieDomain }: CookieSettings,
  value: string | undefined,
): void {
  const parts = [
    `${SESSION_COOKIE}=${value ?? ''}`,
    `Path=${cookiePath}`,
    `Max-Age=${value === undefined ? 0 : MAX_AGE_SECONDS}`,
    'HttpOnly',
    'SameSite=Lax',
  ];
  if (cookieDomain !== undefined) parts.push(`Domain=${cookieDomain}`);
  if (schemeOf(request) === 'https') parts.push('Secure');
  reply.header('set-cookie', parts.join('; '));
}
