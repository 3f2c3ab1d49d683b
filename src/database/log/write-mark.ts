/**
 * Where a write stands in the log: `<log>.<number>`, the number of its transaction (PostgreSQL) or of its last audit row
 * (SQLite), in base 36. A position includes it or not, whatever any clock says.
 */
import type { LogPosition, WriteMark } from '../port.js';
import { parseSnapshot } from './snapshot.js';

const FORM = /^([0-9a-f]{1,16}|log)\.([0-9a-z]{1,13})$/;

export const formatMark = (log: string, number: bigint): WriteMark => `${log}.${number.toString(36)}`;

export const isMark = (text: string): text is WriteMark => FORM.test(text);

/** @returns undefined for a mark of another log */
export function includes(position: LogPosition, mark: WriteMark): boolean | undefined {
  const [, log, digits] = FORM.exec(mark) ?? [];
  const dot = position.indexOf('.');
  if (log === undefined || position.slice(0, dot) !== log) return undefined;
  const number = [...digits!].reduce((sum, digit) => sum * 36n + BigInt(Number.parseInt(digit, 36)), 0n);
  const where = position.slice(dot + 1);
  if (/^\d+$/.test(where)) return number <= BigInt(where);
  const snapshot = parseSnapshot(where);
  if (!snapshot) return undefined;
  return number < snapshot.xmax && !snapshot.xip.includes(number);
}
