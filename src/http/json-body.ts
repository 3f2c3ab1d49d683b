/** JSON bodies of requests, with limited depth and number of values. Long ones cost more. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LightconeError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Additional cost of the body, in requests. */
    bodyCost: number;
  }
}

type Parsers =
  | 'getDefaultJsonParser'
  | 'removeAllContentTypeParsers'
  | 'addContentTypeParser'
  | 'decorateRequest';

export function readJsonBodies(app: Pick<FastifyInstance, Parsers>): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.decorateRequest('bodyCost', 0);
  // A form of a foreign page could send text without a preflight.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    (request: FastifyRequest, body: string, done: (error: Error | null, value?: unknown) => void) => {
      const { depth, values } = measure(body);
      request.bodyCost = Math.floor(
        values / LIMITS.valuesPerRequest.value + body.length / LIMITS.bodyBytesPerRequest.value,
      );
      if (depth > LIMITS.bodyDepth.value)
        done(refusal(`is nested more than ${LIMITS.bodyDepth.value} levels deep`));
      else if (values > LIMITS.bodyValues.value)
        done(refusal(`holds more than ${LIMITS.bodyValues.value} values`));
      else parse(request, body, done);
    },
  );
}

const refusal = (what: string): LightconeError =>
  new LightconeError('PARAMETER_INVALID', `the request body ${what}`);

/** Runs before the parser: validators recurse for each level and report every invalid value. */
export function measure(json: string): { depth: number; values: number } {
  let [level, depth, values] = [0, 0, 1];
  let isInText = false;
  for (let i = 0; i < json.length; i += 1) {
    const code = json.charCodeAt(i);
    if (isInText) {
      if (code === BACKSLASH) i += 1;
      else if (code === QUOTE) isInText = false;
      continue;
    }
    switch (code) {
      case QUOTE:
        isInText = true;
        break;
      case COMMA:
        values += 1;
        break;
      case LIST:
      case OBJECT:
        values += 1;
        level += 1;
        if (level > depth) depth = level;
        break;
      case LIST_END:
      case OBJECT_END:
        level -= 1;
    }
  }
  return { depth, values };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const [LIST, LIST_END, OBJECT, OBJECT_END] = [0x5b, 0x5d, 0x7b, 0x7d];
