/**
 * The place of a write in the log: `<log>.<number>`, the number of its transaction (PostgreSQL) or of its last audit
 * row (SQLite), in base 36. A position includes it or not, independently of all clocks.
 */
import type { LogPosition, WriteMark } from '../port.js';
import { parseSnapshot } from './snapshot.js';

const FORM = /^([0-9a-f]{1,16}|log)\.([0-9a-z]{1,13})$/;

export const formatMark = (log: string, number: bigint): WriteMark => `${log}.${number.toString(36)}`;

export const isMark = (text: string): text is WriteMark => FORM.test(text);

export interface ParsedMark {
  log: string;
  number: bigint;
}

/** @returns undefined for an invalid mark */
export function parseMark(text: string): ParsedMark | undefined {
  const [, log, digits] = FORM.exec(text) ?? [];
  if (log === undefined) return undefined;
  const number = [...digits!].reduce((sum, digit) => sum * 36n + BigInt(Number.parseInt(digit, 36)), 0n);
  return { log, number };
}

/** @returns a function that tells whether the position includes a mark; undefined for a mark of another log */
export function inclusion(position: LogPosition): (mark: ParsedMark) => boolean | undefined {
  const dot = position.indexOf('.');
  const own = position.slice(0, dot);
  const where = position.slice(dot + 1);
  const isNumber = /^\d+$/.test(where);
  const last = isNumber ? BigInt(where) : undefined;
  const snapshot = isNumber ? undefined : parseSnapshot(where);
  const open = new Set(snapshot?.xip);
  return ({ log, number }) => {
    if (log !== own) return undefined;
    if (last !== undefined) return number <= last;
    return snapshot && number < snapshot.xmax && !open.has(number);
  };
}
