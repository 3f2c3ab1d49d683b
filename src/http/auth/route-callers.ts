/** Each route declares in `config.caller` who may call it; one hook holds all of them to it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Principal, UserId } from '../../core/events.js';
import { isDirectlyLocal } from './addresses.js';
import type { Authentication } from './authentication.js';
import { requireAdmin, requireOwner, requireUser } from './callers.js';

export type CallerRule =
  /** Everybody: nobody looks at what a caller shows. */
  | 'public'
  /** Visitors without credentials too; wrong ones are refused. What is asked for may have rules of its own. */
  | 'anyone'
  /** A user, or the anonymous session of a browser. */
  | 'owner'
  | 'user'
  | 'admin'
  /** An administrator, or whoever is on this machine itself. */
  | 'admin_or_local';

declare module 'fastify' {
  interface FastifyContextConfig {
    caller?: CallerRule;
  }
  interface FastifyRequest {
    /** Not for routes that are `public`. */
    caller: Principal;
    /** For routes of a `user`. */
    readonly userId: UserId;
  }
}

const REQUIRE: Readonly<Partial<Record<CallerRule, (principal: Principal) => unknown>>> = {
  owner: requireOwner,
  user: requireUser,
  admin: requireAdmin,
  admin_or_local: requireAdmin,
};

/** What is used of an application or of a part of one, whatever its type provider. */
type Scope = Pick<FastifyInstance, 'addHook' | 'decorateRequest'>;

export function decorateRequests(app: Scope): void {
  app.decorateRequest('caller', null as unknown as Principal);
  app.decorateRequest('userId', {
    getter() {
      return requireUser(this.caller);
    },
  });
}

/** A route that does not declare who may call it is a mistake of ours: it stops the start. */
export function requireDeclarations(scope: Scope): void {
  scope.addHook('onRoute', ({ method, url, config }) => {
    if (config?.caller === undefined)
      throw new Error(`${method} ${url} has no config.caller: say who may call it`);
  });
}

/**
 * The last thing before each handler, behind the validation and the checks of the route itself. Whatever depends on who
 * calls is kept in no cache.
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
