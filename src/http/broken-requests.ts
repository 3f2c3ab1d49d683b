/**
 * Answers requests that Node's parser rejects in the format of every other error, but never in place of another
 * request's answer: if one is pending or has begun on the connection, the connection is only closed.
 */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ERRORS } from '../core/errors.js';

const LAST = Symbol('the response to the last request of a connection');
type ServedSocket = Socket & { [LAST]?: ServerResponse | undefined };

/** Call it for each request, before anything else. */
export function noteRequest(response: ServerResponse): void {
  (response.req.socket as ServedSocket)[LAST] = response;
}

/** The connection no longer belongs to the HTTP server. */
export function forgetRequests(socket: Socket): void {
  (socket as ServedSocket)[LAST] = undefined;
}

/** By Node's code; every other error is a 400. */
const REFUSALS: Readonly<Record<string, [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not arrive in time'],
  HPE_HEADER_OVERFLOW: [431, 'the head of the request is too long'],
};

/** Fastify's `clientErrorHandler`. */
export function refuseBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code !== 'ECONNRESET' && socket.writable && concernsNobodyElse(socket)) {
    const [status, message] = REFUSALS[error.code ?? ''] ?? [400, 'the request is not valid HTTP/1.1'];
    const body = JSON.stringify({ err_msg: message, err_code: ERRORS.PARAMETER_INVALID.errCode });
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }
  socket.destroy(error);
}

/** Whether it is the first request, one after complete answers, or the rest of one that waits for its own answer. */
function concernsNobodyElse(socket: ServedSocket): boolean {
  const last = socket[LAST];
  if (last === undefined || last.writableFinished) return true;
  return !last.req.complete && last.socket === socket && !last.headersSent;
}
