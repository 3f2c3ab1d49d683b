/**
 * Validates single fields of a message. Each function returns the typed value, or throws a FieldError with the name of
 * the field.
 */
import { type Micros, parseIso } from '../lib/time.js';

export class FieldError extends Error {}

/** A JSON object with values of any type. `__proto__` is an ordinary key in the result of JSON.parse. */
export type JsonObject = { readonly [key: string]: unknown };

export const isRecord = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isAbsent = (value: unknown): value is undefined | null => value === undefined || value === null;

/** Row ids are positive. A number that a double cannot hold exactly would become the id of another row. */
export function id(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  throw new FieldError(`${name} is not a positive integer`);
}

function optionalId<Key extends string>(key: Key, name: string, value: unknown): { [K in Key]?: number } {
  return isAbsent(value) ? {} : ({ [key]: id(name, value) } as { [K in Key]?: number });
}

export function idList(name: string, value: unknown): number[] {
  if (!Array.isArray(value)) throw new FieldError(`${name} is not a list`);
  for (const entry of value) id(name, entry);
  return value;
}

const EMPTY: ReadonlyMap<number, number[]> = new Map();

/** A map of decimal id → list of ids. A missing map is empty; an id with an empty list is ignored. */
export function idMap(name: string, value: unknown): ReadonlyMap<number, number[]> {
  if (isAbsent(value)) return EMPTY;
  const map = new Map<number, number[]>();
  if (!isRecord(value)) throw new FieldError(`${name} is not an object`);
  for (const key of Object.keys(value)) {
    const owner = Number(key);
    // Only the canonical spelling: "1e3" and "0x10" would be numbers, too.
    if (!Number.isSafeInteger(owner) || owner <= 0 || String(owner) !== key) {
      throw new FieldError(`${name} has a key that is not a decimal id`);
    }
    const ids = idList(name, value[key]);
    if (ids.length > 0) map.set(owner, ids);
  }
  return map;
}

export function text(name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new FieldError(`${name} is not a string`);
}

/** Text for names, logs and `id:` lines: 1 to 200 characters without control characters. */
export function shortText(name: string, value: unknown): string {
  const short = text(name, value);
  if (short.length === 0 || short.length > 200) throw new FieldError(`${name} is empty or too long`);
  for (let i = 0; i < short.length; i += 1) {
    const unit = short.charCodeAt(i);
    if (unit < 0x20 || unit === 0x7f) throw new FieldError(`${name} holds a control character`);
  }
  return short;
}

export function moment(name: string, value: unknown): Micros {
  const read = parseIso(text(name, value));
  if (read === undefined) throw new FieldError(`${name} is not an ISO date-time`);
  return read;
}

/** A missing, null or empty field means that the event has no id. */
export function optionalEventId<T extends { eventId?: string }>(task: T, { event_id }: JsonObject): T {
  if (!isAbsent(event_id) && event_id !== '') task.eventId = shortText('event_id', event_id);
  return task;
}

/** A missing payload counts as an empty object (contract, section 3.4). */
export const payload = (kwargs: JsonObject): string =>
  isAbsent(kwargs.payload) ? '{}' : text('payload', kwargs.payload);

/** The addressee of a task: a user, a session or both. A task without either is invalid. */
export function owner(kwargs: JsonObject): { userId?: number; sessionId?: number } {
  const who = {
    ...optionalId('userId', 'user_id', kwargs.user_id),
    ...optionalId('sessionId', 'session_id', kwargs.session_id),
  };
  if (who.userId === undefined && who.sessionId === undefined) {
    throw new FieldError('user_id and session_id are both missing');
  }
  return who;
}

export function encodedId(kwargs: JsonObject): string {
  const encoded = shortText('history_id', kwargs.history_id);
  if (!/^[0-9a-f]+$/.test(encoded)) throw new FieldError('history_id is not an encoded id');
  return encoded;
}
