/**
 * Requests from other web sites. There are two separate questions: may a page of that origin *read* our answers (CORS),
 * and may it *act* with the visitor's cookie, which the browser attaches (request forgery).
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { HttpConfig } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';

const NONE: Record<string, string> = Object.freeze({});

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

// `*` as in Galaxy (contract, section 4). The other names are needed because `*` is literal for requests with
// credentials.
const ALLOW_HEADERS = '*, authorization, content-type, last-event-id, run-as, session-csrf-token, x-api-key';

export class CrossOrigin {
  readonly #allowed: ReadonlySet<string>;
  readonly #own: string | undefined;

  constructor(http: Pick<HttpConfig, 'allowedOrigins' | 'infrastructureUrl'>) {
    this.#allowed = new Set(http.allowedOrigins);
    this.#own = originOf(http.infrastructureUrl);
  }

  /** Without allowed origins no answer needs a header. */
  get allowsOthers(): boolean {
    return this.#allowed.size > 0;
  }

  /** Lets only pages of allowed origins read the answer to a request with these headers. */
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

  /** Answers `OPTIONS` on any path; `addHeaders` has told the browser whether the origin is allowed. */
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
   * onRequest hook. Refuses a change that a foreign page makes with the visitor's cookie, or that would replace that
   * cookie. A request without a cookie authenticates with a key, which a foreign page does not have.
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
    // Browsers set it truthfully and pages cannot forge it. It also works behind a proxy that changes `Host`.
    if (site !== undefined) return site === 'same-origin' || site === 'none';
    if (origin === undefined) return true;
    return (
      origin === this.#own ||
      (host !== undefined && originOf(origin) !== undefined && new URL(origin).host === host)
    );
  }
}

/** Authentication decides whether the key is valid, or given twice. */
const showsKey = ({ headers, query }: FastifyRequest): boolean =>
  Boolean(headers['x-api-key'] || (query as { key?: unknown }).key);

function originOf(url: string): string | undefined {
  try {
    return new URL(url).origin;
  } catch {
    return undefined;
  }
}
