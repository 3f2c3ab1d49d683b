/**
 * Takes a connection off Node's HTTP server once its request has been read: parser, request and response are released and
 * the socket is all that is left: a sixth of the memory of an idle stream (figures in docs/performance.md).
 *
 * To be called with nothing of Node's HTTP on the stack: a parser that is freed inside one of its own callbacks ends the process.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

type Parser = { incoming: IncomingMessage | null; unconsume(): void };
type ServedSocket = Socket & { parser?: Parser | null; _httpMessage?: unknown };
type FreeParser = (parser: Parser, request: IncomingMessage, socket: Socket) => void;

/** @returns the bare socket, or undefined if the connection must stay with the HTTP server */
export type TakeOver = (request: IncomingMessage, response: ServerResponse) => Socket | undefined;

/** Listeners of the HTTP server on the socket, which ours replace. */
const HTTP_EVENTS = ['data', 'end', 'close', 'error', 'drain', 'timeout', 'resume', 'pause'];

/** @returns undefined if this version of Node lacks what it needs */
export function findTakeOver(): TakeOver | undefined {
  const freeParser = findFreeParser();
  if (freeParser === undefined) return undefined;
  return (request, response) => {
    const socket = request.socket as ServedSocket;
    const { parser } = socket;
    if (!parser || !isPlain(request, socket) || !isAlone(request, response, socket)) return undefined;
    response.detachSocket(socket);
    for (const event of HTTP_EVENTS) socket.removeAllListeners(event);
    parser.unconsume();
    freeParser(parser, request, socket);
    socket.setTimeout(0);
    socket.setNoDelay(true);
    return socket;
  };
}

/** HTTP/1.1 without TLS, and a request without a body, so all of it has been read. */
function isPlain({ httpVersion, headers, complete }: IncomingMessage, socket: Socket): boolean {
  return (
    httpVersion === '1.1' &&
    complete &&
    headers['content-length'] === undefined &&
    headers['transfer-encoding'] === undefined &&
    socket instanceof Socket &&
    !(socket instanceof TLSSocket)
  );
}

/** No earlier request on the connection waits for its answer, and no head of a later one has been read. */
function isAlone(request: IncomingMessage, response: ServerResponse, socket: ServedSocket): boolean {
  return !socket.destroyed && socket._httpMessage === response && socket.parser?.incoming === request;
}

function findFreeParser(): FreeParser | undefined {
  try {
    const { freeParser } = createRequire(import.meta.url)('_http_common') as { freeParser?: FreeParser };
    return typeof freeParser === 'function' ? freeParser : undefined;
  } catch {
    return undefined;
  }
}
