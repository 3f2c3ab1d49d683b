/** Parts of request schemas. They validate requests, and the OpenAPI document is made from them. */
import { Type } from 'typebox';
import { LightconeError } from '../core/errors.js';
import type { App } from '../http/app.js';
import { NO_NUL, NOT_BLANK } from '../http/validation.js';

/** PostgreSQL accepts no NUL in text. */
export const text = (maxLength: number, minLength = 0, words: { description?: string } = {}) =>
  Type.String({ minLength, maxLength, pattern: NO_NUL, ...words });
/** Optional text with a description. */
export const chosenText = (maxLength: number, description: string) =>
  Type.Optional(text(maxLength, 0, { description }));
export const chosenFlag = (description: string) => Type.Optional(Type.Boolean({ description }));

export const encodedId = Type.String({ maxLength: 64, examples: ['f2db41e1fa331b3e'] });
export const encodedIds = (maxItems: number) => Type.Array(encodedId, { maxItems });
export const moment = Type.String({
  maxLength: 40,
  description: 'ISO 8601; UTC where no zone is given',
  examples: ['2026-07-01T12:34:56'],
});
export const idParams = Type.Object({ id: encodedId });

/** A name for people. */
export const nameText = (maxLength: number) => Type.String({ minLength: 1, maxLength, pattern: NOT_BLANK });

/** The window of a list. */
export const paging = (limit: number, most: number) => ({
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: most, default: limit, description: 'How many at most' }),
  ),
  offset: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 1_000_000_000, default: 0, description: 'How many to leave out' }),
  ),
});

/** Answers 403/403004 for all routes of a disabled resource, which differs from a missing route. */
export function switchedOff(app: App, url: string, setting: string): void {
  app.route({
    method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    url,
    config: { caller: 'public' },
    schema: { hide: true },
    handler: () => {
      throw new LightconeError('SWITCHED_OFF', `this is disabled by the configuration (${setting})`);
    },
  });
}
