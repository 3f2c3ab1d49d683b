/**
 * The types of settings. Each setting has one entry in `schema.ts`, which defines its validation, its conversion from
 * the environment and its row in `docs/configuration.md`.
 */
import { asValue, asWritten } from './yaml-scalars.js';

export interface Setting<T> {
  /** Its name in the documentation: `bool`, `int`, `number`, `text`, `list`. */
  readonly type: string;
  readonly default: T;
  /** The default where no settings file is given. */
  readonly embedded?: T;
  /** The default where `attach_to_galaxy` is on. */
  readonly attached?: T;
  readonly unit?: string;
  /** Its value is never printed, not even an invalid one. */
  readonly secret?: boolean;
  /** One or two sentences for the documentation. */
  readonly doc: string;
  /** Completes "must be …". */
  readonly must: string;
  /** Converts a value from YAML (typed) or the environment (text); undefined if it is invalid. */
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

/** Takes an unquoted scalar as it is written. Sections and lists are not text. */
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

/** Optional text. The empty text removes the value of a weaker source. */
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

/** A YAML list, or comma-separated text. */
export function list(
  options: Extras<readonly string[]> & { must?: string; accepts?: (item: string) => boolean },
): Setting<readonly string[]> {
  const {
    must = 'a list, or text with items separated by commas',
    accepts = () => true,
    ...extras
  } = options;
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
