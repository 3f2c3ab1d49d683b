/**
 * The kinds of settings. A setting is written once, in `schema.ts`; validation, the environment's conversion and
 * `docs/configuration.md` are all made from that one entry.
 */
import { asValue, asWritten } from './yaml-scalars.js';

export interface Setting<T> {
  /** As the documentation names it: `bool`, `int`, `number`, `text`, `list`. */
  readonly type: string;
  readonly default: T;
  /** The default where no settings file is given. */
  readonly embedded?: T;
  /** The default where `attach_to_galaxy` is on. */
  readonly attached?: T;
  readonly unit?: string;
  /** Never printed, not even when it is wrong. */
  readonly secret?: boolean;
  /** One or two sentences for the documentation. */
  readonly doc: string;
  /** Completes "must be …". */
  readonly must: string;
  /** From YAML (typed) or from the environment (text) to the value; undefined when it is not one. */
  read(raw: unknown): { value: T } | undefined;
}

export type ValuesOf<Table> = {
  readonly [Key in keyof Table]: Table[Key] extends Setting<infer T> ? T : never;
};

type Extras<T> = Partial<Pick<Setting<T>, 'embedded' | 'attached' | 'unit' | 'secret'>> & { doc: string };

const TRUE = new Set(['true', 'yes', 'on', '1']);
const FALSE = new Set(['false', 'no', 'off', '0']);

export function bool(defaultValue: boolean, extras: Extras<boolean>): Setting<boolean> {
  return {
    ...extras,
    type: 'bool',
    default: defaultValue,
    must: 'true or false',
    read(raw) {
      const word = String(asValue(raw)).trim().toLowerCase();
      return TRUE.has(word) ? { value: true } : FALSE.has(word) ? { value: false } : undefined;
    },
  };
}

interface Range {
  min: number;
  max?: number;
}

function ranged(
  noun: string,
  type: string,
  pattern: RegExp,
  defaultValue: number,
  { min, max, ...extras }: Extras<number> & Range,
): Setting<number> {
  return {
    ...extras,
    type,
    default: defaultValue,
    must: max === undefined ? `${noun} of at least ${min}` : `${noun} from ${min} to ${max}`,
    read(given) {
      const raw = asValue(given);
      if (typeof raw !== 'number' && typeof raw !== 'string') return undefined;
      const text = String(raw).trim();
      const value = Number(text);
      return pattern.test(text) && value >= min && value <= (max ?? Number.MAX_SAFE_INTEGER)
        ? { value }
        : undefined;
    },
  };
}

export const int = (defaultValue: number, options: Extras<number> & Range): Setting<number> =>
  ranged('a whole number', 'int', /^[+-]?\d+$/, defaultValue, options);

export const number = (defaultValue: number, options: Extras<number> & Range): Setting<number> =>
  ranged('a number', 'number', /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i, defaultValue, options);

interface TextRule {
  must?: string;
  accepts?: (text: string) => boolean;
}

/** Whatever stands there without quotes is taken as it is written; sections and lists are not text. */
function asText(raw: unknown, { accepts = () => true }: TextRule): string | undefined {
  const value = asWritten(raw);
  if (typeof value !== 'string') return undefined;
  return value !== '' && accepts(value) ? value : undefined;
}

export function text(defaultValue: string, options: Extras<string> & TextRule): Setting<string> {
  const { must = 'text', accepts: _, ...extras } = options;
  return {
    ...extras,
    type: 'text',
    default: defaultValue,
    must,
    read(raw) {
      const value = asText(raw, options);
      return value === undefined ? undefined : { value };
    },
  };
}

/** Text that may be left out; the empty text takes away what a weaker source set. */
export function optionalText(options: Extras<string | undefined> & TextRule): Setting<string | undefined> {
  const { must = 'text', accepts: _, ...extras } = options;
  return {
    ...extras,
    type: 'text',
    default: undefined,
    must,
    read(raw) {
      if (raw === '') return { value: undefined };
      const value = asText(raw, options);
      return value === undefined ? undefined : { value };
    },
  };
}

/** A YAML list, or text with commas. */
export function list(
  options: Extras<readonly string[]> & { must?: string; accepts?: (item: string) => boolean },
): Setting<readonly string[]> {
  const { must = 'a list, or text with commas between the items', accepts = () => true, ...extras } = options;
  return {
    ...extras,
    type: 'list',
    default: [],
    must,
    read(raw) {
      const text = asWritten(raw);
      const items: unknown =
        typeof text === 'string' ? text.split(',') : Array.isArray(raw) ? raw.map(asWritten) : raw;
      if (!Array.isArray(items) || !items.every((item) => typeof item === 'string')) return undefined;
      const value = items.map((item) => item.trim()).filter((item) => item !== '');
      return value.every(accepts) ? { value } : undefined;
    },
  };
}
