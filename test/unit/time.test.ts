import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIso, formatSql, parseIso, parseSql, secondsToMicros } from '../../src/lib/time.js';

const moment = Date.UTC(2026, 6, 1, 12, 34, 56) * 1000 + 789_012;
const anyMoment = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) * 1000 });

describe('moments', () => {
  it("are written as Python's isoformat does, without a fraction when it is zero", () => {
    expect(formatIso(moment)).toBe('2026-07-01T12:34:56.789012');
    expect(formatIso(moment - 789_012)).toBe('2026-07-01T12:34:56');
    expect(formatIso(1)).toBe('1970-01-01T00:00:00.000001');
    expect(formatSql(moment - 789_012)).toBe('2026-07-01 12:34:56.000000');
  });

  it('before 1970 are written as well: a floor may lie there', () => {
    expect(formatSql(-1)).toBe('1969-12-31 23:59:59.999999');
  });

  it.each([
    '2026-07-01T12:34:56.789012',
    '2026-07-01 12:34:56.789012',
    '2026-07-01T12:34:56,789012',
    '2026-07-01T12:34:56.789012Z',
    '2026-07-01T12:34:56.789012+00:00',
    '2026-07-01T14:04:56.789012+01:30',
    '2026-07-01T07:04:56.789012-0530',
    '2026-07-01T12:34:56.789012999',
  ])('are read from %s', (text) => {
    expect(parseIso(text)).toBe(moment);
  });

  it.each([
    ['2026-07-01', Date.UTC(2026, 6, 1)],
    ['2026-07-01T12:34', Date.UTC(2026, 6, 1, 12, 34)],
    ['2026-07-01T12:34:56.5', Date.UTC(2026, 6, 1, 12, 34, 56, 500)],
  ])('may be shorter: %s', (text, millis) => {
    expect(parseIso(text)).toBe(millis * 1000);
  });

  it.each([
    '',
    'now',
    '1700000000',
    '2026-02-30',
    '2026-02-29T12:34:56.789012',
    '2026-06-31T12:34:56',
    '2026-00-01T12:34:56',
    '2026-07-00T12:34:56',
    '2026-07-01T12:34:5x.789012',
    '2026-07-01T12:34:56.78901x',
    '2026-07-01T12:34:56x789012',
    '0099-07-01T12:34:56.789012',
    '2026-13-01',
    '2026-07-01T24:00:00',
    '2026-07-01T12:60:00',
    '2026-07-01T12:34:56+24:00',
    '0050-01-01T00:00:00',
    '0099-01-01T00:00:00',
    '1969-12-31T23:59:59',
    ' 2026-07-01',
    '2026-07-01\n',
    '2026-07-01T12:34:56.789012 or so',
    `2026-07-01T12:34:56.${'1'.repeat(60)}`,
  ])('are not read from %j', (text) => {
    expect(parseIso(text)).toBeUndefined();
  });

  it('are read as they were written', () => {
    fc.assert(
      fc.property(anyMoment, (it) => {
        expect(parseIso(formatIso(it))).toBe(it);
        expect(parseSql(formatSql(it))).toBe(it);
      }),
    );
  });

  it('are read alike however they are written', () => {
    fc.assert(
      fc.property(anyMoment, fc.constantFrom('Z', '+00:00', '-000000'), (it, zone) => {
        expect(parseIso(formatIso(it) + zone)).toBe(it);
      }),
    );
    const digit = fc.constantFrom(...'0123456789');
    const pair = fc.tuple(digit, digit).map((both) => both.join(''));
    fc.assert(
      fc.property(fc.array(pair, { minLength: 10, maxLength: 10 }), ([a, b, c, d, e, f, g, ...rest]) => {
        const text = `${a}${b}-${c}-${d}T${e}:${f}:${g}.${rest.join('')}`;
        expect(parseIso(text)).toBe(parseIso(`${text}Z`));
      }),
      { numRuns: 2000 },
    );
  });

  it('as SQL text sort like the moments that they are', () => {
    fc.assert(
      fc.property(anyMoment, anyMoment, (a, b) => {
        expect(formatSql(a) < formatSql(b)).toBe(a < b);
      }),
    );
  });

  it('that are none are an error where a database holds them, and nothing anybody sends makes reading throw', () => {
    expect(() => parseSql('yesterday')).toThrow(RangeError);
    fc.assert(fc.property(fc.string(), (text) => void parseIso(text)));
  });

  it('are whole microseconds', () => {
    expect(secondsToMicros(0.1 + 0.2)).toBe(300_000);
  });
});
