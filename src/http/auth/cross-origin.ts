/**
 * Requests from other web sites. Two separate questions: may a page of that origin *read* our answers (CORS), and may it
 * *act* with the visitor's cookie, which the browser attaches by itself (request forgery).
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { HttpConfig } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';

const NONE: Record<string, string> = Object.freeze({});

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

// `*` as Galaxy has it (contract, section 4); the names beside it because `*` is taken literally where credentials are allowed.
const ALLOW_HEADERS = '*, authorization, content-type, last-event-id, run-as, session-csrf-token, x-api-key';

export class CrossOrigin {
  readonly #allowed: ReadonlySet<string>;
  readonly #own: string | undefined;

  constructor(http: Pick<HttpConfig, 'allowedOrigins' | 'infrastructureUrl'>) {
    this.#allowed = new Set(http.allowedOrigins);
    this.#own = originOf(http.infrastructureUrl);
  }

  /** With no allowed origin there is nothing to add to any answer. */
  get allowsOthers(): boolean {
    return this.#allowed.size > 0;
  }

  /** Lets pages of the allowed origins, and no others, read the answer to a request with these headers. */
  headersFor({ origin }: IncomingHttpHeaders): Record<string, string> {
    if (!this.allowsOthers) return NONE;
    if (origin === undefined || !this.#allowed.has(origin)) return { vary: 'Origin' };
    return {
      vary: 'Origin',
      'access-control-allow-origin': origin,
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'retry-after, supported-channels, x-write-mark',
    };
  }

  /** onRequest hook */
  readonly addHeaders = (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
    reply.headers(this.headersFor(request.headers));
    done();
  };

  /** Answers `OPTIONS` on any path; `addHeaders` has told whether the origin may. */
  readonly preflight = (_request: FastifyRequest, reply: FastifyReply): void => {
    reply
      .headers({
        'access-control-allow-headers': ALLOW_HEADERS,
        'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
        'access-control-max-age': '600',
      })
      .code(204)
      .send();
  };

  /**
   * onRequest hook: refuses a change that a foreign page makes with the visitor's cookie, or that would give the visitor another
   * one. A request without a cookie proves who it is by a key, which a foreign page does not have.
   */
  readonly refuseForgery = (
    request: FastifyRequest,
    _reply: FastifyReply,
    done: (error?: Error) => void,
  ): void => {
    const { headers, method } = request;
    const isByKey = headers.cookie === undefined && showsKey(request);
    if (SAFE_METHODS.has(method) || isByKey || this.#isOurs(headers)) done();
    else {
      const from = headers.origin ?? 'another site';
      done(
        new LightconeError(
          'PERMISSION_MISSING',
          `a page of ${from} may not change anything here; if it should, add its origin to allowed_origins`,
        ),
      );
    }
  };

  #isOurs({ origin, host, ...headers }: FastifyRequest['headers']): boolean {
    if (origin !== undefined && this.#allowed.has(origin)) return true;
    const site = headers['sec-fetch-site'];
    // Browsers tell this truthfully and pages cannot forge it; it also holds behind a proxy that changes `Host`.
    if (site !== undefined) return site === 'same-origin' || site === 'none';
    if (origin === undefined) return true;
    return (
      origin === this.#own ||
      (host !== undefined && originOf(origin) !== undefined && new URL(origin).host === host)
    );
  }
}

/** Whether it is a good one, or two of them, is told by who looks it up. */
const showsKey = ({ headers, query }: FastifyRequest): boolean =>
  Boolean(headers['x-api-key'] || (query as { key?: unknown }).key);

function originOf(url: string): string | undefined {
  try {
    return new URL(url).origin;
  } catch {
    return undefined;
  }
}
