/** Parses ids and moments of requests, with the same error texts for every resource. */
import { LightconeError } from '../core/errors.js';
import type { IdCodec } from '../http/auth/id-codec.js';
import { type Micros, parseIso } from '../lib/time.js';

/** The dependencies of the routes of every resource. */
export interface RouteContext {
  idCodec: IdCodec;
}

/** @param what the noun for the error. @throws LightconeError MALFORMED_ID */
export function decodeId(idCodec: IdCodec, text: string, what: string): number {
  const id = idCodec.decodeId(text);
  if (id === undefined) {
    throw new LightconeError('MALFORMED_ID', `${JSON.stringify(text)} is not an encoded ${what} id`);
  }
  return id;
}

/** Each id once, in the given order. @throws LightconeError MALFORMED_ID */
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
