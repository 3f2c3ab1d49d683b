/**
 * The stream in the OpenAPI document. The stream's own route has no schema, so that nothing is between router and
 * handler.
 */
import { LIMITS } from '../../core/limits.js';
import { EVENTS } from '../../events/registry.js';
import { refusal } from '../openapi-refusals.js';

const EXAMPLE = `retry: 3300

event: ready
data: {}
id: 2026-11-21T10:21:14.334000

event: history_update
data: {"history_ids":["f2db41e1fa331b3e"],"update_time":"2026-11-21T10:21:17.734000","since":{"f2db41e1fa331b3e":"9d4c01f2.hxk3v0b4e2"}}
id: 2026-11-21T10:21:16.332000

: keepalive
id: 2026-11-21T10:21:46.332000

`;

const quoted = ({ event }: { event: string }): string => `\`${event}\``;

export const STREAM_OPERATION = {
  tags: ['stream'],
  summary: 'Events as they happen (Server-Sent Events)',
  description: `Events: ${[{ event: 'ready' }, ...EVENTS.events].map(quoted).join(', ')}; only in a catch-up: ${EVENTS.kinds
    .filter((kind) => !('task' in kind))
    .map(quoted)
    .join(', ')}. An \`id\` is a resume cursor: everything up to it has been sent. Without credentials the
stream carries broadcasts only.`,
  parameters: [
    {
      name: 'Last-Event-ID',
      in: 'header',
      description:
        'The last id that the client received; missed events come first. Takes precedence over `last_event_id`',
      schema: { type: 'string' },
      example: '2026-11-21T10:21:16.332000',
    },
    {
      name: 'last_event_id',
      in: 'query',
      description: 'The same, for clients that cannot set a header',
      schema: { type: 'string' },
      example: '2026-11-21T10:21:16.332000',
    },
    {
      name: 'history_id',
      in: 'query',
      description: 'Also send changes of these histories of other users while this stream is open',
      schema: { type: 'array', maxItems: LIMITS.subscriptionIds.value, items: { type: 'string' } },
      example: ['f2db41e1fa331b3e'],
    },
    {
      name: 'key',
      in: 'query',
      description: 'An API key, for clients that cannot set a header. Proxies log URLs: prefer x-api-key',
      schema: { type: 'string' },
    },
  ],
  responses: {
    200: {
      description: `The stream. It ends at once, with a comment that says why and \`retry: 3000\`, while the worker starts or stops, or its
database is away: an EventSource comes back by itself after a 200 only`,
      headers: {
        'Cache-Control': { schema: { const: 'no-cache' } },
        'X-Accel-Buffering': { schema: { const: 'no' } },
      },
      content: {
        'text/event-stream': {
          schema: {
            type: 'string',
            contentMediaType: 'text/event-stream',
            description: 'Blocks of Server-Sent Events',
          },
          example: EXAMPLE,
        },
      },
    },
    400: refusal(
      '`history_id` is malformed or given too often, or the connection still owes another answer (pipelining)',
      [400009, 'history_id is not an encoded id.'],
    ),
    401: refusal('The key or the cookie is not valid: sign in again', [401001, 'the API key is not valid']),
    403: refusal(
      '403004: enable_sse_updates is off, so poll instead; 403002: the caller may not see a history in `history_id`, so remove it',
      [403004, 'Real-time updates are off on this server (enable_sse_updates: false).'],
    ),
    429: refusal(
      'This user or address has reached its limit of streams',
      [429001, 'You have 50 open streams here, the maximum (max_connections_per_user). Close some tabs.'],
      { retry: true },
    ),
    500: { $ref: '#/components/responses/Failed' },
    503: refusal(
      'This worker has reached its limit of streams (max_connections)',
      [429001, 'This worker has 20000 open streams, the maximum (max_connections).'],
      { retry: true },
    ),
  },
};
