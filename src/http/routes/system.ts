/**
 * The routes about the server itself: health, version, configuration, status, metrics, and the identity of the caller.
 */

import type { FastifyRequest } from 'fastify';
import { type TSchema, Type } from 'typebox';
import type { Accounts } from '../../database/port.js';
import { PROMETHEUS_CONTENT_TYPE } from '../../telemetry/prometheus.js';
import type { App } from '../app.js';
import { isDirectlyLocal } from '../auth/addresses.js';
import type { Authentication } from '../auth/authentication.js';
import type { IdCodec } from '../auth/id-codec.js';
import { describeRoute } from '../describe-route.js';
import * as replies from './replies.js';
import type { StatusSource } from './status-source.js';

/** The Galaxy release whose API Lightcone implements (contract, section 4.5); clients compare it. */
const VERSION_MAJOR = '26.1';
const VERSION_MINOR = '0';

const TAG = 'server';
/** A failing probe gives its reasons. */
const probe = <T extends TSchema>(summary: string, reply: T) => ({
  config: { caller: 'public' as const },
  schema: describeRoute(TAG, summary, { 200: reply, 503: reply }),
});

export interface SystemRouteDeps {
  authenticator: Authentication;
  accounts: Pick<Accounts, 'emailsOf'>;
  idCodec: IdCodec;
  source: StatusSource;
  /** Lightcone's own version. */
  version: string;
  settings: { sseUpdates: boolean; notifications: boolean; interactiveTools: boolean };
}

export function registerSystem(app: App, deps: SystemRouteDeps): void {
  const { authenticator, accounts, idCodec, source, version, settings } = deps;

  /** Problems name hosts, accounts and files, so other callers learn only that there are problems. */
  const shownTo = async (request: FastifyRequest, problems: string[]): Promise<string[]> => {
    if (problems.length === 0 || isDirectlyLocal(request)) return problems;
    const caller = await authenticator.authenticate(request).catch(() => undefined);
    return caller?.isAdmin === true
      ? problems
      : ['only administrators and callers on this machine see the problems'];
  };

  app.get(
    '/healthz',
    probe('Alive? 503 means: replace this process', replies.live),
    async (request, reply) => {
      const problems = source.liveProblems();
      reply.code(problems.length === 0 ? 200 : 503).header('cache-control', 'no-store');
      return { live: problems.length === 0, problems: await shownTo(request, problems) };
    },
  );

  /** For a proxy: whether this worker accepts new streams. */
  app.get(
    '/readyz',
    probe('Does this worker accept new streams? For a proxy', replies.ready),
    async (request, reply) => {
      const ready = source.readyProblems().length === 0;
      const problems = source.problems();
      reply.code(ready ? 200 : 503).header('cache-control', 'no-store');
      return {
        ready,
        well: problems.length === 0,
        problems: await shownTo(request, problems),
        installation: source.installation(),
      };
    },
  );

  /** For an alarm: whether everything works. */
  app.get('/wellz', probe('Does everything work? For an alarm', replies.well), async (request, reply) => {
    const problems = source.problems();
    reply.code(problems.length === 0 ? 200 : 503).header('cache-control', 'no-store');
    return {
      well: problems.length === 0,
      problems: await shownTo(request, problems),
      installation: source.installation(),
    };
  });

  app.get(
    '/api/version',
    {
      config: { caller: 'public' },
      schema: describeRoute(
        TAG,
        'The Galaxy release whose API is implemented, and the version of Lightcone',
        { 200: replies.version },
      ),
    },
    async () => ({
      version_major: VERSION_MAJOR,
      version_minor: VERSION_MINOR,
      extra: { lightcone_version: version },
    }),
  );

  const configuration: Record<string, unknown> = {
    version_major: VERSION_MAJOR,
    version_minor: VERSION_MINOR,
    enable_sse_updates: settings.sseUpdates,
    enable_notification_system: settings.notifications,
    interactivetools_enable: settings.interactiveTools,
  };
  // `view` is a parameter of Galaxy; here every view has the same few fields.
  const query = Type.Object({
    keys: Type.Optional(Type.String({ maxLength: 1000, description: 'Only these, separated by commas' })),
    view: Type.Optional(Type.String({ description: 'Every view has the same fields' })),
  });
  app.get(
    '/api/configuration',
    {
      config: { caller: 'public' },
      schema: {
        querystring: query,
        ...describeRoute(TAG, 'The enabled features', { 200: replies.configuration }),
      },
    },
    async ({ query: { keys } }) => {
      if (!keys) return configuration;
      const wanted = keys.split(',').map((key) => key.trim());
      return Object.fromEntries(
        wanted.filter((key) => Object.hasOwn(configuration, key)).map((key) => [key, configuration[key]]),
      );
    },
  );

  /** The user, or `null` for an anonymous caller and for the bootstrap key. */
  app.get(
    '/api/whoami',
    {
      config: { caller: 'anyone' },
      schema: describeRoute(TAG, 'The user of the key or cookie, or null', { 200: replies.whoami }),
    },
    async (request, reply) => {
      const { userId, isAdmin } = request.caller;
      const email = userId === undefined ? undefined : (await accounts.emailsOf([userId])).get(userId);
      const user =
        userId === undefined || email === undefined
          ? null
          : { model_class: 'User', id: idCodec.encodeId(userId), email, is_admin: isAdmin };
      // Explicit, because `null` alone would become an empty body.
      reply.type('application/json; charset=utf-8');
      return JSON.stringify(user);
    },
  );

  app.get(
    '/api/status',
    {
      config: { caller: 'admin' },
      schema: describeRoute(TAG, 'The status of each hop of an update (administrators)', {
        200: replies.status,
      }),
    },
    async () => source.status(),
  );

  app.get(
    '/metrics',
    {
      config: { caller: 'admin_or_local' },
      schema: {
        ...describeRoute(TAG, 'Prometheus text (administrators, and callers on this machine)', {
          200: replies.metrics,
        }),
        produces: ['text/plain'],
      },
    },
    async (_request, reply) => {
      reply.type(PROMETHEUS_CONTENT_TYPE);
      return source.prometheus();
    },
  );
}
