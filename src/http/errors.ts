/**
 * The error replies of all routes, in Galaxy's format (contract, section 4.6): `{"err_msg", "err_code", ...details}`.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, LightconeError } from '../core/errors.js';
import { PATTERN_WORDS } from './validation.js';

export interface ErrorReply {
  status: number;
  headers: Record<string, string>;
  body: { err_msg: string; err_code: number } & Record<string, unknown>;
}

/** Fastify's own refusals, by code. Another error without a 4xx status is an internal one. */
const FASTIFY_CODES: Record<string, [ErrorCode, string]> = {
  FST_ERR_CTP_INVALID_JSON_BODY: ['BODY_NOT_JSON', 'the request body is not valid JSON'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['BODY_NOT_JSON', 'the request body is empty; JSON was expected'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'BODY_NOT_JSON',
    'the request body is not declared as JSON; send "Content-Type: application/json"',
  ],
  FST_ERR_CTP_BODY_TOO_LARGE: ['BODY_TOO_LARGE', 'the request body is too large'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    'PARAMETER_INVALID',
    'the request body is not as long as Content-Length says',
  ],
  FST_ERR_MAX_PARAM_LENGTH: ['PARAMETER_INVALID', 'a part of the path is too long'],
  FST_ERR_BAD_URL: ['PARAMETER_INVALID', 'the path of the URL cannot be decoded'],
};

/** @param bodyMissing the request had no body at all, so "must be object" means "missing" */
export function toErrorReply(error: unknown, bodyMissing = false): ErrorReply {
  const { entry, message, options } = asLightconeError(error, bodyMissing);
  const headers: Record<string, string> = {};
  const retryAfter = options.retryAfterSeconds ?? (entry.retryable && entry.status !== 500 ? 5 : undefined);
  if (retryAfter !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(retryAfter)));
  return {
    status: entry.status,
    headers,
    body: { err_msg: message, err_code: entry.errCode, ...options.details },
  };
}

/** Fastify's error handler. It logs only internal errors; the caller learns of its own mistakes. */
export function handleError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { status, headers, body } = toErrorReply(error, request.body == null);
  // The route's pattern, not the URL, which may contain a key.
  const line = { err: error, route: request.routeOptions.url, method: request.method, status };
  if (status === 500) request.log.error(line, 'request failed');
  // The component that uses an unavailable server logs that once, not once per request.
  else if (status > 500) request.log.debug(line, 'request refused');
  reply.code(status).headers(headers).send(body);
}

function asLightconeError(error: unknown, bodyMissing: boolean): LightconeError {
  if (error instanceof LightconeError) {
    // A message for the administrator's log (an invalid setting, a missing table) is not for visitors.
    if (error.entry.status === 500) return internal(error);
    return isNeighbourAway(error) ? new LightconeError(error.code, error.entry.meaning) : error;
  }
  if (!(error instanceof Error)) return internal(error);
  const { validation, validationContext, code = '', statusCode = 500 } = error as FastifyError;
  if (validation) return invalidRequest(validation, validationContext ?? 'request', bodyMissing);
  const known = FASTIFY_CODES[code];
  if (known) return new LightconeError(known[0], known[1], { cause: error });
  if (statusCode >= 400 && statusCode < 500) {
    return new LightconeError('PARAMETER_INVALID', error.message, { cause: error });
  }
  return internal(error);
}

/** Its message names the host, account or file for the administrator. */
const isNeighbourAway = ({ code }: LightconeError): boolean =>
  code === 'DATABASE_UNAVAILABLE' || code === 'BUS_UNAVAILABLE';

const internal = (cause: unknown): LightconeError =>
  new LightconeError('INTERNAL', 'Lightcone failed internally; see its log', { cause });

type ValidationErrors = NonNullable<FastifyError['validation']>;

function invalidRequest(errors: ValidationErrors, part: string, bodyMissing: boolean): LightconeError {
  const allMissing =
    (bodyMissing && part === 'body') || errors.every(({ keyword }) => keyword === 'required');
  const problems = errors.map(({ instancePath, keyword, message = keyword, params }) => ({
    loc: [part, ...instancePath.split('/').slice(1)],
    msg: PATTERN_WORDS[String(params.pattern)] ?? message,
    type: keyword,
  }));
  const text = problems.map(({ loc, msg }) => `${loc.join('.')} ${msg}`).join('; ');
  return new LightconeError(allMissing ? 'PARAMETER_MISSING' : 'PARAMETER_INVALID', text, {
    details: { validation_errors: problems },
  });
}
