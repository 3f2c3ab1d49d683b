/** Ids and moments on their way in: the same words for every resource. */
import { LightconeError } from '../core/errors.js';
import type { IdCodec } from '../http/auth/id-codec.js';
import { type Micros, parseIso } from '../lib/time.js';

/** What the routes of every resource need. */
export interface RouteContext {
  idCodec: IdCodec;
}

/** @param what named in the error. @throws LightconeError MALFORMED_ID */
export function decodeId(idCodec: IdCodec, text: string, what: string): number {
  const id = idCodec.decodeId(text);
  if (id === undefined) {
    throw new LightconeError('MALFORMED_ID', `${JSON.stringify(text)} is not an encoded ${what} id`);
  }
  return id;
}

/** Each id once, in the order given. @throws LightconeError MALFORMED_ID */
export const decodeIds = (idCodec: IdCodec, texts: readonly string[], what: string): number[] => [
  ...new Set(texts.map((text) => decodeId(idCodec, text, what))),
];

/** @throws LightconeError PARAMETER_INVALID */
export function parseMoment(text: string, name: string): Micros {
  const moment = parseIso(text);
  if (moment === undefined) {
    throw new LightconeError(
      'PARAMETER_INVALID',
      `${name} is ${JSON.stringify(text)}; write an ISO date-time such as 2026-07-01T12:34:56`,
    );
  }
  return moment;
}
