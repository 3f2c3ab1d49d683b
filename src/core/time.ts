/**
 * Moments and how they are written.
 *
 * PostgreSQL keeps audit times with microseconds, so a moment here is an integer count of microseconds since 1970
 * (UTC). That is exact in a double until the year 2255, compares with `<`, and costs no object.
 */

/** Microseconds since 1970-01-01T00:00:00 UTC; always an integer. */
export type Micros = number;

export const MICROS_PER_SECOND = 1_000_000;
const MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND;

export const secondsToMicros = (seconds: number): Micros => Math.round(seconds * MICROS_PER_SECOND);

const MAX_MICROS: Micros = Date.UTC(9999, 11, 31, 23, 59, 59, 999) * 1000;

/**
 * The naive UTC form used on every wire of the contract: `2026-07-01T12:34:56.789012`, and without a fraction when the
 * microseconds are exactly zero, because that is what Python's `isoformat()` writes.
 */
export function formatIso(moment: Micros): string {
  const micros = ((moment % MICROS_PER_SECOND) + MICROS_PER_SECOND) % MICROS_PER_SECOND;
  const seconds = new Date((moment - micros) / 1000).toISOString().slice(0, 19);
  return micros === 0 ? seconds : `${seconds}.${String(micros).padStart(6, '0')}`;
}

/** The form both databases take as a parameter: `2026-07-01 12:34:56.789012`; compares as text on SQLite. */
export function formatSql(moment: Micros): string {
  const micros = ((moment % MICROS_PER_SECOND) + MICROS_PER_SECOND) % MICROS_PER_SECOND;
  const iso = new Date((moment - micros) / 1000).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}.${String(micros).padStart(6, '0')}`;
}

const FORM =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d{2}:?\d{2}(?::?\d{2})?)?$/i;

/**
 * Reads an ISO 8601 date-time as Python's `fromisoformat` does: `T` or a blank between date and time, an optional
 * fraction, an optional zone; without a zone it is UTC.
 *
 * @returns the moment, or undefined when the text is not one (never throws: the text comes from anybody)
 */
export function parseIso(text: string): Micros | undefined {
  if (text.length > 40) return undefined;
  const match = FORM.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour = '00', minute = '00', second = '00', fraction = '', zone] = match;
  const millis = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  );
  const date = new Date(millis);
  // Date.UTC rolls over (31 February, 25 o'clock) and lifts years below 100 into the 1900s; a cursor must be what it says.
  if (
    !Number.isFinite(millis) ||
    date.getUTCFullYear() !== Number(year) ||
    date.getUTCMonth() !== Number(month) - 1 ||
    date.getUTCDate() !== Number(day) ||
    Number(hour) > 23 ||
    Number(minute) > 59 ||
    Number(second) > 59
  ) {
    return undefined;
  }
  let moment = millis * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
  if (zone && zone.toUpperCase() !== 'Z') {
    const digits = zone.replace(/[^0-9]/g, '').padEnd(6, '0');
    const offset =
      Number(digits.slice(0, 2)) * 3600 + Number(digits.slice(2, 4)) * 60 + Number(digits.slice(4, 6));
    if (offset * MICROS_PER_SECOND >= MICROS_PER_DAY) return undefined;
    moment -= (zone.startsWith('-') ? -1 : 1) * offset * MICROS_PER_SECOND;
  }
  return moment >= 0 && moment <= MAX_MICROS ? moment : undefined;
}

/**
 * Reads a timestamp column (text, as both adapters return it).
 *
 * @throws RangeError when the database holds something that is not a timestamp
 */
export function parseSql(text: string): Micros {
  const moment = parseIso(text);
  if (moment === undefined) throw new RangeError(`not a timestamp in the database: ${JSON.stringify(text)}`);
  return moment;
}
