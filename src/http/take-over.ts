/**
 * Takes a connection off Node's HTTP server once its request has been read: parser, request and response are released and
 * the socket is all that is left. That halves the memory of an idle stream and spares each write the response's
 * bookkeeping (figures in docs/performance.md).
 *
 * Node has no public call for it. What is used here is checked for at the start; where something is missing, or the
 * connection is not a plain HTTP/1.1 socket, the stream is written through its response instead, which works the same.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

type Parser = { unconsume(): void };
type ServedSocket = Socket & { parser?: Parser | null; _httpMessage?: unknown; server?: unknown };
type FreeParser = (parser: Parser, request: IncomingMessage, socket: Socket) => void;

/** Listeners that the HTTP server put on the socket; ours take their place. */
const HTTP_EVENTS = ['data', 'end', 'close', 'error', 'drain', 'timeout', 'resume', 'pause'];

export class TakeOver {
  private readonly freeParser: FreeParser | undefined = findFreeParser();

  /** @returns the bare socket, or undefined where the connection has to stay with the HTTP server */
  take(request: IncomingMessage, response: ServerResponse): Socket | undefined {
    const socket = request.socket as ServedSocket;
    const { parser } = socket;
    if (
      this.freeParser === undefined ||
      request.httpVersionMinor !== 1 ||
      request.httpVersionMajor !== 1 ||
      !(socket instanceof Socket) ||
      socket instanceof TLSSocket ||
      typeof parser?.unconsume !== 'function' ||
      // Behind a pipelined request whose answer is not out yet: the socket is not this response's.
      socket._httpMessage !== response
    ) {
      return undefined;
    }
    response.detachSocket(socket);
    for (const event of HTTP_EVENTS) socket.removeAllListeners(event);
    parser.unconsume();
    this.freeParser(parser, request, socket);
    socket.setTimeout(0);
    socket.setNoDelay(true);
    return socket;
  }
}

function findFreeParser(): FreeParser | undefined {
  try {
    const { freeParser } = createRequire(import.meta.url)('_http_common') as { freeParser?: FreeParser };
    return typeof freeParser === 'function' ? freeParser : undefined;
  } catch {
    return undefined;
  }
}
