/** The OpenAPI document, made from the schemas that validate requests. `/api/docs` shows it (src/web/api-docs.js). */
import swagger from '@fastify/swagger';
import type { App } from './app.js';
import { completed, type OpenApiDocument } from './openapi-document.js';

const DESCRIPTION = `The API of a standalone Lightcone. Ids are encoded; times are ISO 8601 in UTC, without a zone. Every error is
\`{"err_msg": "…", "err_code": 400008}\`, and docs/errors.md lists the codes. docs/stream.md tells what the stream promises, and
docs/api.md has a line of curl for each operation.`;

const TAGS = {
  stream: 'Events as they happen, and subscriptions',
  histories: 'Histories',
  'history contents': 'Datasets and collections',
  'sharing of histories': 'Who else may see a history',
  notifications: 'Notifications of a user (enable_notification_system)',
  broadcasts: 'Messages to everybody, including visitors',
  'notification preferences': 'Which notifications a user wants',
  'entry points': 'Interactive tools (interactivetools_enable)',
  sessions: 'Login, logout and anonymous visitors',
  server: 'About the server itself',
};

/**
 * Register it before the routes that it describes: it collects them as they are added. @param options.version
 * Lightcone's own
 */
export async function registerOpenApi(app: App, { version }: { version: string }): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Lightcone',
        version,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
      // Relative to the document, so that it is correct under any prefix and behind any proxy.
      servers: [{ url: app.prefix || '/' }],
      components: {
        securitySchemes: {
          key: { type: 'apiKey', in: 'header', name: 'x-api-key' },
          session: { type: 'apiKey', in: 'cookie', name: 'galaxysession' },
        },
      },
      security: [{ key: [] }, { session: [] }, {}],
    },
    // Pages and scripts are not part of the API.
    transform: ({ schema, url }) => ({ schema: schema?.tags ? schema : { ...schema, hide: true }, url }),
  });
  // Made once, because it costs milliseconds and everybody may request it.
  let text: string | undefined;
  app.get(
    '/api/openapi.json',
    { config: { caller: 'public' }, schema: { hide: true } },
    async (_request, reply) => {
      text ??= JSON.stringify(completed(app.swagger() as unknown as OpenApiDocument));
      return reply.header('cache-control', 'no-cache').type('application/json; charset=utf-8').send(text);
    },
  );
}
