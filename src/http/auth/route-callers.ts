/** Each route declares in `config.caller` who may call it, and one hook enforces it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Principal, UserId } from '../../core/events.js';
import { isDirectlyLocal } from './addresses.js';
import type { Authentication } from './authentication.js';
import { requireAdmin, requireOwner, requireUser } from './callers.js';

export type CallerRule =
  /** Everybody; credentials are ignored. */
  | 'public'
  /** Everybody, but wrong credentials are refused. The item itself may have rules of its own. */
  | 'anyone'
  /** A user, or the anonymous session of a browser. */
  | 'owner'
  | 'user'
  | 'admin'
  /** An administrator, or any caller on this machine. */
  | 'admin_or_local';

declare module 'fastify' {
  interface FastifyContextConfig {
    caller?: CallerRule;
  }
  interface FastifyRequest {
    /** Not for `public` routes. */
    caller: Principal;
    /** For `user` routes. */
    readonly userId: UserId;
  }
}

const REQUIRE: Readonly<Partial<Record<CallerRule, (principal: Principal) => unknown>>> = {
  owner: requireOwner,
  user: requireUser,
  admin: requireAdmin,
  admin_or_local: requireAdmin,
};

/** The used methods of an application or a part of one, with any type provider. */
type Scope = Pick<FastifyInstance, 'addHook' | 'decorateRequest'>;

export function decorateRequests(app: Scope): void {
  app.decorateRequest('caller', null as unknown as Principal);
  app.decorateRequest('userId', {
    getter() {
      return requireUser(this.caller);
    },
  });
}

/** A route without a declaration is a mistake of ours and prevents the start. */
export function requireDeclarations(scope: Scope): void {
  scope.addHook('onRoute', ({ method, url, config }) => {
    if (config?.caller === undefined)
      throw new Error(`${method} ${url} has no config.caller: declare who may call it`);
  });
}

/**
 * Runs directly before each handler, after the validation and the hooks of the route. Answers that depend on the caller
 * are not cacheable.
 */
export function identifyCallers(scope: Scope, authenticator: Authentication): void {
  const identify = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { caller } = request.routeOptions.config;
    if (caller === undefined || caller === 'public') return;
    if (caller === 'admin_or_local' && isDirectlyLocal(request)) return;
    reply.header('cache-control', 'no-store');
    request.caller = await authenticator.authenticate(request);
    REQUIRE[caller]?.(request.caller);
  };
  scope.addHook('onRoute', (route) => {
    route.preHandler = [route.preHandler ?? [], identify].flat();
  });
}
