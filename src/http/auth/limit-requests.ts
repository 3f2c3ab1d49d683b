/** The hook that counts each request to the API. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../core/events.js';
import type { Authentication } from './authentication.js';
import { ANONYMOUS } from './callers.js';
import type { RequestLimits } from './rate-limit.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Tokens that a request costs; 1 by default. */
    cost?: number;
  }
}

/** Excludes the paths of monitoring systems, and those that a browser requests on its own. */
const LIMITED = /^\/(api|history)\//;

/**
 * onRequest hook for the API, not for the stream. It counts by the matched route, not by the URL. It looks up the
 * credentials first, so that no user is refused because of strangers at the same address.
 */
export function limitRequests(
  limits: RequestLimits,
  authenticator: Authentication,
  prefix: string,
): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request) => {
    const { url = '', config } = request.routeOptions;
    if (!LIMITED.test(url.slice(prefix.length))) return;
    limits.take(request, await callerOf(authenticator, request), config.cost);
  };
}

/** preValidation hook: the body has been read, but its validation has not cost anything yet. */
export function limitBodies(
  limits: RequestLimits,
  authenticator: Authentication,
): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request) => {
    if (request.bodyCost === 0) return;
    limits.take(request, await callerOf(authenticator, request), request.bodyCost);
  };
}

/** A caller that cannot be authenticated counts as anonymous; the route itself reports the error. */
async function callerOf(authenticator: Authentication, request: FastifyRequest): Promise<Principal> {
  try {
    return authenticator.tryCached(request) ?? (await authenticator.authenticate(request));
  } catch {
    return ANONYMOUS;
  }
}
