/**
 * Refuses requests of an address over its limit as cheaply as possible: before Fastify, with prepared bytes. Other
 * requests than those of strangers to the API take the ordinary way, which has the limits.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse } from 'node:querystring';
import { ERRORS } from '../../core/errors.js';
import type { Authentication } from './authentication.js';
import type { CallerRequest } from './credentials.js';
import type { RequestLimits } from './rate-limit.js';

const BODY = JSON.stringify({
  err_msg:
    'this address exceeds its rate limit (api_rate_limit): too many requests, or too many expensive ones',
  err_code: ERRORS.RATE_LIMITED.errCode,
});
const HEAD = [
  'content-type',
  'application/json; charset=utf-8',
  'content-length',
  String(Buffer.byteLength(BODY)),
  'retry-after',
  '1',
];

/** @returns whether it has answered */
export type RefuseEarly = (request: IncomingMessage, response: ServerResponse) => boolean;

export function earlyRefusal(
  limits: Pick<RequestLimits, 'isExhausted'>,
  authenticator: Pick<Authentication, 'isSurelyStranger'>,
  prefix: string,
): RefuseEarly {
  const api = `${prefix}/api/`;
  const stream = `${prefix}/api/events/stream`;
  return (request, response) => {
    const { url = '', method, headers, socket } = request;
    // The stream has its own limits, and a page of another origin needs CORS headers to read an answer.
    if (!url.startsWith(api) || url.startsWith(stream) || method === 'OPTIONS' || headers.origin)
      return false;
    if (!limits.isExhausted(request)) return false;
    const mark = url.indexOf('?');
    const query = mark < 0 ? undefined : parse(url.slice(mark + 1));
    if (!isSurelyStranger(authenticator, { headers, socket, query })) return false;
    response.writeHead(ERRORS.RATE_LIMITED.status, HEAD).end(BODY);
    return true;
  };
}

function isSurelyStranger(
  authenticator: Pick<Authentication, 'isSurelyStranger'>,
  request: CallerRequest,
): boolean {
  try {
    return authenticator.isSurelyStranger(request);
  } catch {
    // A credential given twice: the ordinary way reports the mistake.
    return false;
  }
}
