/**
 * The position from which a client requests the contents of a history: `<log>.<moment>`, opaque to the client. The
 * server finds the position in the log for the moment. `null` always means start over: the client's copy is unreliable.
 */
import type { Cursor } from '../core/events.js';
import type { LogPosition } from '../database/port.js';

/** Undefined if no positions are known; the client then reloads what it shows. */
export type SinceToken = string | null | undefined;

export const sinceToken = (position: LogPosition, moment: Cursor): string =>
  `${position.slice(0, position.indexOf('.'))}.${moment.toString(36)}`;

/** @returns undefined for an invalid token */
function readSinceToken(token: string): { log: string; moment: Cursor } | undefined {
  const [, log, digits] = /^([0-9a-f]{1,16}|log)\.([0-9a-z]{1,11})$/.exec(token) ?? [];
  return log === undefined || digits === undefined ? undefined : { log, moment: Number.parseInt(digits, 36) };
}

/** Merges two tokens of one history: the older one covers both. Tokens of two logs merge into `null`. */
export function olderSince(one: SinceToken, other: SinceToken): SinceToken {
  if (one === undefined || other === undefined || one === other) return one ?? other;
  const [a, b] = [readSinceToken(one ?? ''), readSinceToken(other ?? '')];
  if (!a || !b || a.log !== b.log) return null;
  return a.moment <= b.moment ? one : other;
}
