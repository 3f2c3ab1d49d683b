/**
 * `GET /api/events/stream`: who asks, whether there is room, from which cursor; then the socket goes to the connection
 * manager and HTTP has nothing more to do with it.
 */

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { retryText } from '../connections/frame.js';
import type { CloseReason, ConnectionManager } from '../connections/manager.js';
import type { Tab } from '../connections/tab.js';
import { type ErrorCode, LightconeError } from '../core/errors.js';
import type { Cursor, HistoryId, Principal } from '../core/events.js';
import { parseIso } from '../core/time.js';
import type { Accounts } from '../database/port.js';
import type { App } from './app.js';
import type { Authenticator } from './authentication.js';
import { toErrorReply } from './errors.js';
import type { TakeOver } from './take-over.js';

const MAX_VIEWED = 200;
/** A caller that cannot be served now asks again after so long. */
const RETRY_MS = 3000;

export interface StreamDeps {
  enabled: boolean;
  manager: ConnectionManager;
  authenticator: Pick<Authenticator, 'tryCached' | 'authenticate'>;
  accounts: Pick<Accounts, 'accessibleHistories'>;
  decodeId: (text: string) => HistoryId | undefined;
  takeOver: TakeOver;
}

/** Where a socket or response keeps its tab, so that its listeners need no closure. */
const TAB = Symbol('tab');
type Output = (Socket | ServerResponse) & { [TAB]?: Tab };

export function registerStream(app: App, deps: StreamDeps): void {
  const handlers = outputHandlers(deps.manager);

  app.get('/api/events/stream', { exposeHeadRoute: false }, async (request, reply) => {
    const { manager, authenticator } = deps;
    if (!deps.enabled) {
      throw new LightconeError(
        'SWITCHED_OFF',
        'Real-time updates are off on this server (enable_sse_updates: false).',
      );
    }
    if (!manager.ready) return comeBack(reply, notReady(manager));
    let principal: Principal;
    let viewed: HistoryId[];
    try {
      principal = authenticator.tryCached(request) ?? (await authenticator.authenticate(request));
      viewed = await viewedHistories(request, principal, deps);
    } catch (error) {
      if (error instanceof LightconeError && PASSES.has(error.code))
        return comeBack(reply, toErrorReply(error).body.err_msg);
      throw error;
    }
    // Much may have happened while the caller was looked up: it left, or this worker was told to stop.
    if (request.raw.socket.destroyed) return reply.hijack();
    if (!manager.ready) return comeBack(reply, notReady(manager));
    // Behind another answer on the same connection, which may itself be a stream: its turn need never come.
    if (reply.raw.socket === null) {
      throw new LightconeError(
        'PARAMETER_INVALID',
        'A stream cannot be asked for on a connection that another request still waits on (pipelining).',
      );
    }
    manager.admit(principal);
    const since = requestedCursor(request, manager);

    reply.hijack();
    const socket = deps.takeOver.take(request.raw, reply.raw);
    if (socket !== undefined) {
      const tab = manager.open({
        out: socket,
        chunked: true,
        head: headText(reply),
        principal,
        since,
        viewed,
      });
      handlers.attach(socket, tab);
      socket.resume();
      return;
    }
    const response = reply.raw;
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) response.setHeader(name, value);
    response.writeHead(200, STREAM_HEADERS);
    const tab = manager.open({ out: response, chunked: false, head: '', principal, since, viewed });
    handlers.attach(response, tab);
  });
}

const STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache',
  'X-Accel-Buffering': 'no',
};

/** The head as bytes on a socket of our own; headers that hooks left (cross-origin) are part of it. */
function headText(reply: FastifyReply): string {
  let head = `${HEAD}Date: ${new Date().toUTCString()}\r\n`;
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    for (const one of [value].flat()) if (one !== undefined) head += `${name}: ${one}\r\n`;
  }
  return `${head}\r\n`;
}

const HEAD = `HTTP/1.1 200 OK\r\n${Object.entries(STREAM_HEADERS)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n`;

/** What mends itself: the caller is not at fault and should ask again. */
const PASSES: ReadonlySet<string> = new Set<ErrorCode>(['DATABASE_UNAVAILABLE', 'RATE_LIMITED']);

const notReady = (manager: ConnectionManager): string =>
  manager.draining
    ? 'this worker is being stopped'
    : 'this worker is starting: it waits for its database or its broker';

/**
 * A stream that says why in a comment and ends. Any 5xx makes an EventSource give up for good; after this it comes back,
 * to another worker or to this one when it is well again.
 */
function comeBack(reply: FastifyReply, why: string): FastifyReply {
  const retry = retryText(RETRY_MS);
  return reply.headers({ ...STREAM_HEADERS, Connection: 'close' }).send(`: ${why}\n${retry}`);
}

type Query = { last_event_id?: string | string[]; history_id?: string | string[] };

function requestedCursor(request: FastifyRequest, manager: ConnectionManager): Cursor | undefined {
  // On its own reconnects a browser sends the header, which is newer than what stands in the URL.
  const header = request.headers['last-event-id'];
  const text = header ?? [(request.query as Query).last_event_id].flat()[0];
  if (text === undefined || text === '') return undefined;
  return manager.acceptCursor(parseIso(String(text)));
}

async function viewedHistories(
  request: FastifyRequest,
  principal: Principal,
  { decodeId, accounts }: StreamDeps,
): Promise<HistoryId[]> {
  const given = (request.query as Query).history_id;
  if (given === undefined) return [];
  const texts = [...new Set([given].flat())];
  if (texts.length > MAX_VIEWED) {
    throw new LightconeError('PARAMETER_INVALID', `history_id may be given at most ${MAX_VIEWED} times.`);
  }
  const ids = texts.map((text) => {
    const id = decodeId(text);
    if (id === undefined) throw new LightconeError('MALFORMED_ID', 'history_id is not an encoded id.');
    return id;
  });
  const accessible = await accounts.accessibleHistories(principal, ids);
  if (ids.some((id) => !accessible.has(id))) {
    throw new LightconeError('NOT_ACCESSIBLE', 'You may not see one of the histories in history_id.');
  }
  return ids;
}

/** One set of listeners for all tabs. */
function outputHandlers(manager: ConnectionManager) {
  const gone = (output: Output, reason: CloseReason): void => {
    if (output[TAB] !== undefined) manager.gone(output[TAB], reason);
  };
  function onDrain(this: Output): void {
    if (this[TAB] !== undefined) manager.drained(this[TAB]);
  }
  function onClose(this: Output): void {
    gone(this, 'client');
  }
  function onError(this: Output): void {
    gone(this, 'error');
    this.destroy();
  }
  // A client that ends its side of an event stream has nothing more to say and nothing more to hear.
  function onEnd(this: Output): void {
    this.destroy();
  }
  return {
    attach(output: Output, tab: Tab): void {
      output[TAB] = tab;
      output.on('drain', onDrain).on('close', onClose).on('error', onError).on('end', onEnd);
      // It may have closed while its first bytes were written, before anybody listened.
      if (output.destroyed) manager.gone(tab, 'client');
    },
  };
}
