/**
 * Since when a client should ask for the contents of a history: `<log>.<moment>`, opaque to it. The server finds the position
 * of the log that belongs to the moment. `null` has one meaning everywhere: start over, nothing that you hold can be relied on.
 */
import type { Cursor } from '../core/events.js';
import type { LogPosition } from '../database/port.js';

/** Undefined where nobody knows positions: then a client has to load what it shows. */
export type SinceToken = string | null | undefined;

export const sinceToken = (position: LogPosition, moment: Cursor): string =>
  `${position.slice(0, position.indexOf('.'))}.${moment.toString(36)}`;

/** @returns undefined for what is no token */
export function readSinceToken(token: string): { log: string; moment: Cursor } | undefined {
  const [, log, digits] = /^([0-9a-f]{1,16}|log)\.([0-9a-z]{1,11})$/.exec(token) ?? [];
  return log === undefined || digits === undefined ? undefined : { log, moment: Number.parseInt(digits, 36) };
}

/** Of two for one history: the older one, which covers both. Of two logs neither does. */
export function olderSince(one: SinceToken, other: SinceToken): SinceToken {
  if (one === undefined || other === undefined || one === other) return one ?? other;
  const [a, b] = [readSinceToken(one ?? ''), readSinceToken(other ?? '')];
  if (!a || !b || a.log !== b.log) return null;
  return a.moment <= b.moment ? one : other;
}
