/** The description of a route in the OpenAPI document. Schemas validate requests, but only describe replies. */
// Adds `tags` and `summary` to the type of a route's schema.
import type {} from '@fastify/swagger';
import { type TSchema, Type } from 'typebox';

export type Replies = Readonly<Record<number, TSchema>>;

/** The reply of a route without a result. */
export const DONE = {
  204: Type.Unsafe<undefined>(Type.Null({ description: 'Done; there is no body' })),
} satisfies Replies;

/**
 * @param tag groups the routes of a resource @param response by status; schemas with a title become named components
 */
export const describeRoute = <R extends Replies>(tag: string, summary: string, response: R) => ({
  tags: [tag],
  summary,
  response,
});

/** Parts of replies. */
export const ID = Type.String({ description: 'Encoded', examples: ['f2db41e1fa331b3e'] });
export const TIME = Type.String({
  description: 'ISO 8601 in UTC, without a zone',
  examples: ['2026-07-01T12:34:56.789012'],
});
export const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
