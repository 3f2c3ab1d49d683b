/**
 * Moments and their text formats.
 * PostgreSQL stores audit times with microseconds, so a moment is an integer count of microseconds since 1970 (UTC). It
 * is exact in a double until the year 2255, compares with `<`, and needs no object.
 */

/** Microseconds since 1970-01-01T00:00:00 UTC; always an integer. */
export type Micros = number;

export const MICROS_PER_SECOND = 1_000_000;
const MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND;

export const secondsToMicros = (seconds: number): Micros => Math.round(seconds * MICROS_PER_SECOND);

const MAX_MICROS: Micros = Date.UTC(9999, 11, 31, 23, 59, 59, 999) * 1000;

/**
 * The naive UTC format of every wire (contract, section 0): `2026-07-01T12:34:56.789012`, without a fraction if the
 * microseconds are exactly zero, as Python's `isoformat()` writes it.
 */
export function formatIso(moment: Micros): string {
  const micros = ((moment % MICROS_PER_SECOND) + MICROS_PER_SECOND) % MICROS_PER_SECOND;
  const seconds = new Date((moment - micros) / 1000).toISOString().slice(0, 19);
  return micros === 0 ? seconds : `${seconds}.${String(micros).padStart(6, '0')}`;
}

/** The format of SQL parameters for both databases: `2026-07-01 12:34:56.789012`. On SQLite it compares as text. */
export function formatSql(moment: Micros): string {
  const micros = ((moment % MICROS_PER_SECOND) + MICROS_PER_SECOND) % MICROS_PER_SECOND;
  const iso = new Date((moment - micros) / 1000).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}.${String(micros).padStart(6, '0')}`;
}

const FORM =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d{2}:?\d{2}(?::?\d{2})?)?$/i;

/**
 * Reads an ISO 8601 date-time as Python's `fromisoformat` does: `T` or a space between date and time, an optional
 * fraction, an optional zone. Without a zone it is UTC.
 * @returns the moment, or undefined for invalid text; it never throws, because the text may come from a client
 */
export function parseIso(text: string): Micros | undefined {
  return parseWritten(text) ?? parseAny(text);
}

/**
 * Fast path for the output of `formatIso` and `formatSql`, without a regular expression: every task on the bus has one.
 */
function parseWritten(text: string): Micros | undefined {
  const { length } = text;
  if (length !== 26 && length !== 19) return undefined;
  if (text[4] !== '-' || text[7] !== '-' || (text[10] !== 'T' && text[10] !== ' ')) return undefined;
  if (text[13] !== ':' || text[16] !== ':' || (length === 26 && text[19] !== '.')) return undefined;
  return momentOf(
    digits(text, 0, 4),
    digits(text, 5, 7),
    digits(text, 8, 10),
    digits(text, 11, 13),
    digits(text, 14, 16),
    digits(text, 17, 19),
    digits(text, 20, length),
  );
}

/** @returns NaN if one of them is not a digit */
function digits(text: string, start: number, end: number): number {
  let value = 0;
  for (let i = start; i < end; i += 1) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

function parseAny(text: string): Micros | undefined {
  if (text.length > 40) return undefined;
  const match = FORM.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', zone = 'Z'] = match;
  const offset = offsetOf(zone);
  if (offset === undefined) return undefined;
  const micros = Number(fraction.slice(0, 6).padEnd(6, '0'));
  return momentOf(
    Number(year),
    Number(month),
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
    micros - offset,
  );
}

/** Parses `Z`, `+02:00` or `-033000`. @returns microseconds ahead of UTC, or undefined for a day or more */
function offsetOf(zone: string): Micros | undefined {
  const parts = zone.replace(/[^0-9]/g, '').padEnd(6, '0');
  const offset = secondsToMicros(
    Number(parts.slice(0, 2)) * 3600 + Number(parts.slice(2, 4)) * 60 + Number(parts.slice(4, 6)),
  );
  if (offset >= MICROS_PER_DAY) return undefined;
  return zone.startsWith('-') ? -offset : offset;
}

/** @returns undefined for an invalid day or time, and for years before 1970 or after 9999 */
function momentOf(
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  second: number,
  micros: Micros,
): Micros | undefined {
  // Date.UTC maps years below 100 to the 1900s.
  if (!(year >= 100 && month >= 1 && month <= 12 && day >= 1 && hour <= 23 && minute <= 59 && second <= 59))
    return undefined;
  const midnight = Date.UTC(year, month - 1, day);
  // Date.UTC also rolls 31 February over, which would change the cursor.
  if (midnight >= Date.UTC(year, month, 1)) return undefined;
  const moment = midnight * 1000 + (hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + micros;
  return moment >= 0 && moment <= MAX_MICROS ? moment : undefined;
}

const LATEST: Micros = Date.UTC(9999, 11, 31, 23, 59, 59) * 1000;

/**
 * PostgreSQL's range is 4713 BC to 294276, plus both infinities. Times outside ours count as 1970 or the end of 9999.
 */
function outOfRange(text: string): Micros | undefined {
  if (text === 'infinity') return LATEST;
  if (text === '-infinity') return 0;
  const [, year, rest = ''] = /^(\d{4,6})-\d\d-\d\d \d\d:\d\d:\d\d(.*)$/.exec(text) ?? [];
  if (year === undefined) return undefined;
  if (rest.endsWith('BC') || Number(year) < 1970) return 0;
  return Number(year) > 9999 ? LATEST : undefined;
}

/**
 * Reads a timestamp column (text, as both adapters return it).
 * @throws RangeError if the column does not contain a timestamp
 */
export function parseSql(text: string): Micros {
  const moment = parseIso(text) ?? outOfRange(text);
  if (moment === undefined) throw new RangeError(`not a timestamp in the database: ${JSON.stringify(text)}`);
  return moment;
}
