/** The hook that counts each request to the API. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../core/events.js';
import type { Authentication } from './authentication.js';
import { ANONYMOUS } from './callers.js';
import type { RequestLimits } from './rate-limit.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Tokens that a request takes; 1 where nothing is said. */
    cost?: number;
  }
}

/** Not what machines that watch over this one ask for, nor what a browser asks for by itself. */
const LIMITED = /^\/(api|history)\//;

/**
 * onRequest hook for the API, not for the stream: by the route that was found, not by the URL as it was written. What the
 * caller shows is looked up first, so that a user is not refused for what strangers at the same address do.
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

/** preValidation hook: a long body has been read by then, and what it costs to look at it is not spent yet. */
export function limitBodies(
  limits: RequestLimits,
  authenticator: Authentication,
): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request) => {
    if (request.bodyCost === 0) return;
    limits.take(request, await callerOf(authenticator, request), request.bodyCost);
  };
}

/** Whoever cannot be told who it is counts as nobody; the route itself says what was wrong. */
async function callerOf(authenticator: Authentication, request: FastifyRequest): Promise<Principal> {
  try {
    return authenticator.tryCached(request) ?? (await authenticator.authenticate(request));
  } catch {
    return ANONYMOUS;
  }
}
