/**
 * The HTTP border: one Fastify app, made of route modules. It has everything that the routes share (prefix, errors,
 * limits, cross-origin rules); each route has a file of its own.
 */
import { createServer, type ServerOptions } from 'node:http';
// Adds `hide` to the type of a route's schema.
import type {} from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from 'fastify';
import type { HttpConfig } from '../config/config.js';
import { LightconeError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import type { Logger } from '../telemetry/logger.js';
import type { Authentication } from './auth/authentication.js';
import { CrossOrigin } from './auth/cross-origin.js';
import type { RefuseEarly } from './auth/early-refusal.js';
import { Handshakes } from './auth/handshakes.js';
import { decorateRequests, identifyCallers, requireDeclarations } from './auth/route-callers.js';
import { noteRequest, refuseBrokenRequest } from './broken-requests.js';
import { handleError } from './errors.js';
import { readJsonBodies } from './json-body.js';
import { isStream } from './routes/stream-opening.js';
import { LazyValidator } from './validation.js';
import { WaitingConnections } from './waiting-connections.js';

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression<RawServerDefault>,
  RawReplyDefaultExpression<RawServerDefault>,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** Adds its routes. Paths have no prefix. */
export type RouteModule = (app: App) => unknown;

export interface HttpAppOptions {
  http: Pick<HttpConfig, 'prefix' | 'allowedOrigins' | 'infrastructureUrl'>;
  logger: Logger;
  /** Ordinary routes: `(app) => registerSystem(app, deps)`, … */
  routes: readonly RouteModule[];
  /**
   * Routes with no hooks between router and handler, because their rate and memory matter: the stream. One hook runs if
   * other origins are allowed. It sets its headers with `reply.header()`, so a route that writes its own head to the
   * socket reads them from `reply.getHeaders()`.
   */
  bareRoutes?: readonly RouteModule[];
  /** Sees every request before Fastify does. */
  refuseEarly?: RefuseEarly;
  /** Authenticates callers. */
  authenticator: Authentication;
  /** onRequest hook of the ordinary routes. */
  limitRequests?: (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
  /** preValidation hook of the ordinary routes. */
  limitBodies?: (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
}

const SERVER_OPTIONS = {
  // Longer than the idle time of usual proxies (nginx 60 s), so that the proxy closes first, and never during a
  // request.
  keepAliveTimeout: 75_000,
  // For the arrival of a request, not for its answer: streams stay open.
  requestTimeout: LIMITS.requestSeconds.value * 1000,
  headersTimeout: LIMITS.headSeconds.value * 1000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: LIMITS.headBytes.value,
} satisfies ServerOptions;

/**
 * Replaces Fastify's schema compilers, which would load a hundred modules: `LazyValidator` validates requests, and no
 * route has a serializer for its answers.
 */
const NO_COMPILERS = { buildValidator: unused, buildSerializer: () => () => JSON.stringify };
function unused(): never {
  throw new Error('setValidatorCompiler comes before any schema');
}

const LAST_REQUEST_MS = 500;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** The app does not listen yet: `await app.listen(...)`, and `await app.close()` at the end. */
export function buildHttpApp({
  http,
  logger,
  routes,
  bareRoutes = [],
  refuseEarly,
  authenticator,
  limitRequests,
  limitBodies,
}: HttpAppOptions): App {
  const crossOrigin = new CrossOrigin(http);
  const handshakes = new Handshakes();
  const waiting = new WaitingConnections({
    idle: LIMITS.idleConnections.value,
    unreadSeconds: LIMITS.unreadSeconds.value,
    unreadBytes: LIMITS.unreadBytes.value,
  });
  const app: App = Fastify({
    // Request lines (at debug level) contain the route, never the URL: any part of it may contain a key (`#key=`,
    // `;key=`).
    loggerInstance: logger.child(
      {},
      {
        serializers: { req: ({ method, routeOptions }) => ({ method, route: routeOptions?.url ?? 'none' }) },
      },
    ) as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: !logger.isLevelEnabled('debug') }),
    bodyLimit: LIMITS.bodyBytes.value,
    serverFactory: (handler) => {
      const server = createServer(SERVER_OPTIONS, (request, response) => {
        if (isStream(request.socket)) return;
        noteRequest(response);
        if (!refuseEarly?.(request, response)) handler(request, response);
      });
      waiting.limit(server);
      return handshakes.limit(server, LIMITS.handshakes.value);
    },
    clientErrorHandler: refuseBrokenRequest,
    // During a close the routes answer late requests themselves, because a 5xx makes an EventSource give up.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true },
    schemaController: { compilersFactory: NO_COMPILERS },
    frameworkErrors: handleError,
  });
  // A request may be on its way on a new connection.
  app.addHook('preClose', async () => void setTimeout(() => handshakes.end(), LAST_REQUEST_MS).unref());
  const validation = new LazyValidator();
  app.setValidatorCompiler(validation.compiler);
  app.setErrorHandler(handleError);
  readJsonBodies(app);
  decorateRequests(app);

  app.setNotFoundHandler((request, reply) => {
    handleError(
      new LightconeError('NOT_FOUND', `there is no ${request.method} ${pathOf(request.url)}`),
      request,
      reply,
    );
  });

  const known = new Map<string, Set<string>>();
  app.register(
    async (scope: App) => {
      if (crossOrigin.allowsOthers) scope.addHook('onRequest', crossOrigin.addHeaders);
      requireDeclarations(scope);
      scope.options('/api/*', { config: { caller: 'public' } }, crossOrigin.preflight);
      collectMethods(scope, known);
      for (const register of bareRoutes) await register(scope);
    },
    { prefix: http.prefix },
  );
  app.register(
    async (scope: App) => {
      requireDeclarations(scope);
      identifyCallers(scope, authenticator);
      collectMethods(scope, known);
      if (crossOrigin.allowsOthers) scope.addHook('onRequest', crossOrigin.addHeaders);
      scope.addHook('onRequest', crossOrigin.refuseForgery);
      if (limitRequests) scope.addHook('onRequest', limitRequests);
      scope.addHook('onRequest', validation.load);
      if (limitBodies) scope.addHook('preValidation', limitBodies);
      for (const register of routes) await register(scope);
      refuseOtherMethods(scope, known);
    },
    { prefix: http.prefix },
  );
  return app;
}

/** Collects the methods of each path while routes are added. */
function collectMethods(scope: App, known: Map<string, Set<string>>): void {
  scope.addHook('onRoute', ({ url, method }) => {
    const path = url.slice(scope.prefix.length);
    const methods = known.get(path) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    known.set(path, methods);
  });
}

/** Answers 405 with `Allow`, not 404, for a known path without this method. */
function refuseOtherMethods(scope: App, known: Map<string, Set<string>>): void {
  for (const [path, methods] of [...known]) {
    const allow = [...methods].join(', ');
    const missing = METHODS.filter((method) => !methods.has(method));
    if (missing.length === 0) continue;
    scope.route({
      method: missing,
      url: path,
      config: { caller: 'public' },
      schema: { hide: true },
      handler: (request, reply) => {
        reply.header('allow', allow);
        throw new LightconeError(
          'METHOD_NOT_ALLOWED',
          `${pathOf(request.url)} answers ${allow}, not ${request.method}`,
        );
      },
    });
  }
}

/** Without the query, which may contain a key. */
const pathOf = (url: string): string => url.split('?', 1)[0]!;
