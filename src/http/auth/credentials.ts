import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { LightconeError } from '../../core/errors.js';
import { DEMO_KEYS } from '../../database/demo-keys.js';
import { type Arrival, isOnThisMachine } from './addresses.js';

/** The credentials of a request, as unverified text. An empty value counts as missing. */
export interface Credentials {
  key: string | undefined;
  /** Value of the `galaxysession` cookie. */
  cookie: string | undefined;
  /** Encoded id of the user to act for. */
  runAs: string | undefined;
}

/** The part of a request that identifies its caller; Fastify's request has it. */
export interface CallerRequest extends Arrival {
  headers: IncomingHttpHeaders;
  query: unknown;
  /** Missing in tests only. */
  raw?: IncomingMessage;
}

export const SESSION_COOKIE = 'galaxysession';

/** The query precedes the header, as in Galaxy, because EventSource cannot set headers. */
export function readCredentials(request: CallerRequest): Credentials {
  const query = request.query as Record<string, unknown> | null | undefined;
  return {
    key: parameter(query, 'key') ?? header(request.headers, 'x-api-key'),
    cookie: readCookie(request.headers.cookie, SESSION_COOKIE),
    runAs: parameter(query, 'run-as') ?? header(request.headers, 'run-as'),
  };
}

/**
 * One cookie of a `Cookie` header. The first of several with the name counts, because browsers send the one with the
 * most specific path first. Quotes around the value are removed.
 */
export function readCookie(cookies: string | undefined, name: string): string | undefined {
  if (!cookies) return undefined;
  for (const pair of cookies.split(';')) {
    const equals = pair.indexOf('=');
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const value = pair.slice(equals + 1).trim();
    const unquoted =
      value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    return unquoted === '' ? undefined : unquoted;
  }
  return undefined;
}

/** A public secret, sent by a caller that may be anybody. */
export const isPublicAbroad = (secret: string | undefined, arrival: Arrival): boolean =>
  secret !== undefined && DEMO_KEYS.has(secret) && !isOnThisMachine(arrival);

function parameter(query: Record<string, unknown> | null | undefined, name: string): string | undefined {
  const value = query?.[name];
  if (Array.isArray(value)) {
    // Two credentials of a kind are a mistake, and guessing could pick the wrong user.
    throw new LightconeError('PARAMETER_INVALID', `the query parameter ${name} is given more than once`);
  }
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}
