/** The pairs: what stands in a galaxy.yml, what Galaxy's PyYAML makes of it, and what we do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSettingsFile } from '../../src/config/file.js';
import { PlainScalar } from '../../src/config/yaml-scalars.js';
import { type Answer, askLibraries } from '../support/galaxy-libraries.js';

const SCALARS = [
  'yes', 'Yes', 'YES', 'yEs', 'y', 'Y', 'n', 'N', 'no', 'on', 'Off', 'true', 'True', 'TRUE', 'tRUE', 'null', 'Null', '~', '',
  '0', '7', '007', '0660', '08', '0o17', '0x1F', '0b101', '-12', '+12', '1_000', '_1', '1__0', '12:30', '12:30:45', '12:60', '1:30.5',
  '9117e436251', '12345678e2', '1e3', '1.e3', '1.5e3', '1.5e+3', '1.5E-3', '.5', '-.5', '1.', '1.0', '1.50', '1,5', '.inf', '-.inf', '.nan', 'inf', 'nan',
  '2024-01-01', '2024-01-01T10:00:00Z', '"yes"', "'0660'", '"1e3"', '!!str 0660', '!!str yes', 'a b', 'a#b', 'a: b', 'http://h:80/x',
  'amqp://u:p@h:5671//galaxy?ssl=1', '"amqp://u:p@h//"', 'user@example.org,other@example.org', '>-\n    folded\n    text', '|\n    kept\n    text\n', 'grün', '=x',
  '[1, yes, 0660]', '{a: 1}', '%x', '-x', '- x', '?x', '*x', '&x y', '@x', '`x', 'x:', '"\\u00e9"', "'it''s'", 'two\n    lines',
]; // biome-ignore format: a table

let folder: string;
let theirs: Answer<[type: string, text: string][] | (null | [string, string])[]>[];
const document = (scalar: string): string => `galaxy:\n  key: ${scalar}\n`;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-yaml-'));
  theirs = await askLibraries(SCALARS.map((scalar) => ({ ask: 'yaml', value: document(scalar) })));
}, 30_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** In Python's words. */
function described(raw: unknown): null | [string, string] {
  if (raw === null) return null;
  if (Array.isArray(raw)) return ['list', ''];
  if (!(raw instanceof PlainScalar)) return typeof raw === 'string' ? ['str', raw] : ['dict', ''];
  if (typeof raw.value === 'boolean') return ['bool', raw.asGalaxy];
  return [/^-?\d+$/.test(raw.asGalaxy) ? 'int' : 'float', raw.asGalaxy.toLowerCase()];
}

describe('a value without and with quotes is what it is in Galaxy', () => {
  it.each(SCALARS.map((scalar, at) => [scalar, at] as const))('%j', (scalar, at) => {
    const file = join(folder, `${at}.yml`);
    writeFileSync(file, document(scalar));
    const read = (): unknown => readSettingsFile(file).galaxy.key;
    const other = theirs[at]!;
    if (other.error !== undefined) {
      expect(read).toThrow();
      return;
    }
    const value = other.ok[0] ?? null;
    // A date is text for us, and the same text.
    const expected: null | [string, string] =
      value &&
      (/^date/.test(value[0]) ? ['str', scalar] : /list|dict/.test(value[0]) ? [value[0], ''] : value);
    const mine = described(read());
    if (expected?.[0] === 'float' && mine?.[0] === 'float')
      expect(Number.parseFloat(mine[1])).toBe(Number.parseFloat(expected[1]));
    else expect(mine).toEqual(expected);
  });
});
