/** The OpenAPI document, made of the schemas that validate, and a page that shows it without any foreign resource. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifySchema } from 'fastify';
import type { App } from './app.js';

/** The page writes style attributes; its scripts are files of its own. */
const CONTENT_SECURITY_POLICY = {
  'default-src': ["'none'"],
  'script-src': ["'self'"],
  'style-src': ["'self'", "'unsafe-inline'"],
  'img-src': ["'self'", 'data:'],
  'font-src': ["'self'"],
  'connect-src': ["'self'"],
  'base-uri': ["'self'"],
  'form-action': ["'none'"],
  'frame-ancestors': ["'none'"],
};

const DESCRIPTION = `The API of a standalone Lightcone. Ids are encoded; times are ISO 8601 in UTC, without zone.
Every error is \`{"err_msg": "…", "err_code": 400008}\`. The stream itself, \`GET /api/events/stream\`, is text/event-stream, which OpenAPI
cannot describe: docs/stream.md does.`;

/** Comes before the routes that it describes: it collects them as they are added. @param options.version Lightcone's own */
export async function registerOpenApi(app: App, { version }: { version: string }): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Lightcone', version, description: DESCRIPTION },
      // Relative to the document, so that it holds under any prefix and behind any proxy.
      servers: [{ url: `${app.prefix}/` }],
      components: {
        securitySchemes: {
          key: { type: 'apiKey', in: 'header', name: 'x-api-key' },
          session: { type: 'apiKey', in: 'cookie', name: 'galaxysession' },
        },
      },
      security: [{ key: [] }, { session: [] }, {}],
    },
    transform: ({ schema, url }) => ({ schema: describe(schema, url.slice(app.prefix.length)), url }),
  });
  await app.register(swaggerUi, {
    routePrefix: '/api/docs',
    staticCSP: CONTENT_SECURITY_POLICY,
    uiConfig: { docExpansion: 'list', deepLinking: true },
    theme: { title: 'Lightcone API' },
    logo: { type: 'image/svg+xml', content: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>') },
  });
  app.get('/api/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    reply.header('cache-control', 'no-cache');
    return withReplies(app.swagger() as unknown as Described);
  });
}

interface Described {
  paths: Record<string, Record<string, { summary?: string; responses: Record<string, object> }>>;
}

/** What every route answers besides its own; the schemas know requests only. */
const ERROR_REPLY = {
  description: 'An error: `{"err_msg": "…", "err_code": 400008}`; docs/errors.md lists the codes',
  content: {
    'application/json': {
      schema: {
        type: 'object',
        required: ['err_msg', 'err_code'],
        properties: { err_msg: { type: 'string' }, err_code: { type: 'integer' } },
      },
    },
  },
};

/** Routes about the server itself and the stream's subscriptions, which say nothing of themselves. */
const SUMMARIES: Readonly<Record<string, string>> = {
  'get /api/version': 'The Galaxy release whose contract is spoken, and the version of Lightcone',
  'get /api/configuration': 'What is switched on here',
  'get /api/whoami': 'The user of the key or cookie, or null',
  'get /api/status': 'How the way of an update is doing, hop by hop (administrators)',
  'post /api/events/history-subscriptions': "Watch histories of others on the caller's streams",
  'delete /api/events/history-subscriptions': 'Watch them no longer',
  'post /api/events/marks': "Tell the caller's streams when these writes are out",
};

/** @returns the document with a summary for every operation, and words for what it answers */
function withReplies(document: Described): Described {
  const paths = Object.entries(document.paths).map(([path, operations]) => {
    const described = Object.entries(operations).map(([method, operation]) => {
      const summary = operation.summary ?? SUMMARIES[`${method} ${path}`];
      const done = { '2XX': { description: `${summary}. JSON, or 204 without a body` } };
      return [method, { ...operation, summary, responses: { ...done, default: ERROR_REPLY } }];
    });
    return [path, Object.fromEntries(described)];
  });
  return { ...document, paths: Object.fromEntries(paths) };
}

/** What is not sorted into a group belongs to the server itself; pages and scripts are no API. */
function describe(schema: FastifySchema | undefined, path: string): FastifySchema {
  if (schema?.hide || schema?.tags) return schema;
  return path.startsWith('/api/') ? { ...schema, tags: ['server'] } : { ...schema, hide: true };
}
