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
Every error is \`{"err_msg": "…", "err_code": 400008}\`. The stream itself is \`GET /api/events/stream\`.`;

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
    return app.swagger();
  });
}

/** What is not sorted into a group belongs to the server itself; pages and scripts are no API. */
function describe(schema: FastifySchema | undefined, path: string): FastifySchema {
  if (schema?.hide || schema?.tags) return schema;
  return path.startsWith('/api/') ? { ...schema, tags: ['server'] } : { ...schema, hide: true };
}
