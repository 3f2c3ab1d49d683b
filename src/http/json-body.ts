/** Bodies of requests: JSON, and no deeper than anything here needs, since what reads it later calls itself for each level. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LightconeError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';

type Parsers = 'getDefaultJsonParser' | 'removeAllContentTypeParsers' | 'addContentTypeParser';

export function readJsonBodies(app: Pick<FastifyInstance, Parsers>): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  // Text is what a foreign page's form could send without asking.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    (request: FastifyRequest, body: string, done: (error: Error | null, value?: unknown) => void) => {
      if (isDeeperThan(LIMITS.bodyDepth.value, body)) {
        done(
          new LightconeError(
            'PARAMETER_INVALID',
            `the request body is nested more than ${LIMITS.bodyDepth.value} levels deep`,
          ),
        );
      } else parse(request, body, done);
    },
  );
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = new Set([0x5b, 0x7b]);
const CLOSE = new Set([0x5d, 0x7d]);

export function isDeeperThan(most: number, json: string): boolean {
  let depth = 0;
  let isInText = false;
  for (let i = 0; i < json.length; i += 1) {
    const code = json.charCodeAt(i);
    if (isInText) {
      if (code === BACKSLASH) i += 1;
      else if (code === QUOTE) isInText = false;
    } else if (code === QUOTE) isInText = true;
    else if (OPEN.has(code)) depth += 1;
    else if (CLOSE.has(code)) depth -= 1;
    if (depth > most) return true;
  }
  return false;
}
