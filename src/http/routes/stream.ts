/**
 * `GET /api/events/stream`: authenticates, checks the limits and the cursor, then passes the socket to the connection
 * manager. HTTP plays no further part.
 */

import type { IncomingHttpHeaders } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ConnectionManager } from '../../connections/manager.js';
import { type ErrorCode, LightconeError } from '../../core/errors.js';
import type { Cursor, HistoryId, Principal } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { Accounts } from '../../database/port.js';
import { retryText } from '../../events/frame.js';
import { parseIso } from '../../lib/time.js';
import type { App } from '../app.js';
import type { Authentication } from '../auth/authentication.js';
import type { RequestLimits } from '../auth/rate-limit.js';
import { toErrorReply } from '../errors.js';
import { STREAM_HEADERS, type StreamOpener } from './stream-opening.js';

const STREAM_PATH = '/api/events/stream';
/** The retry time of a caller that cannot be served now. */
const RETRY_MS = 3000;

export interface StreamDeps {
  enabled: boolean;
  manager: ConnectionManager;
  authenticator: Pick<Authentication, 'tryCached' | 'authenticate'>;
  accounts: Pick<Accounts, 'accessibleHistories'>;
  decodeId: (text: string) => HistoryId | undefined;
  opening: StreamOpener;
  limits: Pick<RequestLimits, 'take' | 'addresses'>;
}

export function registerStream(app: App, deps: StreamDeps): void {
  const { manager, authenticator, opening } = deps;

  const refused = (request: FastifyRequest, { code }: { code?: string }): void =>
    manager.refusals.note({
      at: Date.now(),
      reason: code ?? 'INTERNAL',
      address: deps.limits.addresses.forLimits(request).network,
    });
  const onError = async (request: FastifyRequest, _: FastifyReply, error: { code?: string }): Promise<void> =>
    refused(request, error);

  app.get(
    STREAM_PATH,
    { config: { caller: 'anyone' }, exposeHeadRoute: false, onError },
    async (request, reply) => {
      if (!deps.enabled) {
        throw new LightconeError(
          'SWITCHED_OFF',
          'Real-time updates are off on this server (enable_sse_updates: false).',
        );
      }
      if (!manager.ready) return endWithRetry(reply, notReady(manager));
      let principal: Principal;
      let viewed: HistoryId[];
      try {
        principal = authenticator.tryCached(request) ?? (await authenticator.authenticate(request));
        viewed = await viewedHistories(request, principal, deps);
      } catch (error) {
        if (error instanceof LightconeError && TEMPORARY.has(error.code)) {
          refused(request, error);
          const { retryAfterSeconds = 0 } = error.options;
          return endWithRetry(reply, toErrorReply(error).body.err_msg, retryAfterSeconds * 1000);
        }
        throw error;
      }
      // The connection must leave the HTTP server outside its parser, whose callbacks run the awaited code.
      await nextTurn();
      // During the look-up the caller may have left, or this worker may have begun to stop.
      if (request.raw.socket.destroyed) return reply.hijack();
      if (!manager.ready) return endWithRetry(reply, notReady(manager));
      // The response waits for another one on the same connection, perhaps a stream that never ends.
      if (reply.raw.socket === null) {
        throw new LightconeError(
          'PARAMETER_INVALID',
          'A stream cannot follow an unanswered request on the same connection (pipelining).',
        );
      }
      const from = deps.limits.addresses.forLimits(request).network;
      const address = principal.userId === undefined && manager.admission.countsAddresses ? from : undefined;
      manager.admission.admit(principal, address);
      const since = requestedCursor(request.headers, request.query as Query, manager);
      reply.hijack();
      try {
        opening.open(request.raw, reply.raw, { principal, since, viewed, address, from }, reply.getHeaders());
      } catch (error) {
        // Nobody else knows of this connection any more.
        request.log.error({ err: error }, 'stream failed inside Lightcone: its connection is closed');
        request.raw.socket.destroy();
      }
    },
  );
}

/** Temporary problems, after which the caller should retry. */
const TEMPORARY: ReadonlySet<string> = new Set<ErrorCode>([
  'DATABASE_UNAVAILABLE',
  // Tables are gone while a dump is restored; an administrator puts rights and search_path back.
  'DATABASE_SCHEMA',
  'AUTHENTICATION_UNAVAILABLE',
  'RATE_LIMITED',
]);

const notReady = (manager: ConnectionManager): string =>
  manager.draining
    ? 'this worker is shutting down'
    : 'this worker is starting: it waits for its database or its broker';

/**
 * Answers a stream with a comment about the reason, and ends it. A 5xx would make an EventSource give up; after this it
 * reconnects, to another worker or to this one.
 */
function endWithRetry(reply: FastifyReply, why: string, afterMs = 0): FastifyReply {
  const retry = retryText(Math.max(RETRY_MS, Math.ceil(afterMs)));
  return reply.headers({ ...STREAM_HEADERS, Connection: 'close' }).send(`: ${why}\n${retry}`);
}

type Query = { last_event_id?: string | string[]; history_id?: string | string[] };

function requestedCursor(
  headers: IncomingHttpHeaders,
  query: Query,
  manager: ConnectionManager,
): Cursor | undefined {
  // A reconnecting browser sends the header, which is newer than the parameter of the URL.
  const given = headers['last-event-id'] ?? query.last_event_id;
  const text = Array.isArray(given) ? given[0] : given;
  if (text === undefined || text === '') return undefined;
  return manager.acceptCursor(parseIso(String(text)));
}

async function viewedHistories(
  request: FastifyRequest,
  principal: Principal,
  { decodeId, accounts, limits }: StreamDeps,
): Promise<HistoryId[]> {
  const given = (request.query as Query).history_id;
  if (given === undefined) return [];
  const texts = [...new Set([given].flat())];
  if (texts.length > LIMITS.subscriptionIds.value) {
    throw new LightconeError(
      'PARAMETER_INVALID',
      `history_id may be given at most ${LIMITS.subscriptionIds.value} times.`,
    );
  }
  const ids = texts.map((text) => {
    const id = decodeId(text);
    if (id === undefined) throw new LightconeError('MALFORMED_ID', 'history_id is not an encoded id.');
    return id;
  });
  limits.take(request, principal, ids.length * LIMITS.subscriptionCost.value);
  const accessible = await accounts.accessibleHistories(principal, ids);
  if (ids.some((id) => !accessible.has(id))) {
    throw new LightconeError('NOT_ACCESSIBLE', 'You may not see one of the histories in history_id.');
  }
  return ids;
}
