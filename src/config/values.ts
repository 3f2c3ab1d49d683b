/** Checks raw values: picks the strongest source, collects every mistake, suggests the key that a misspelling resembles. */
import { closest, distance } from 'fastest-levenshtein';
import {
  NOT_OFFERED_STANDALONE,
  OTHER_GALAXY_KEYS,
  REMOVED_KEYS,
  SETTINGS,
  type Section,
  type SettingValues,
} from './schema.js';
import type { Setting } from './setting.js';
import {
  type CollectedSources,
  FILE_ENV,
  GALAXY_ENV_OVERRIDE,
  isKnown,
  LIGHTCONE_ENV,
  type RawValue,
} from './sources.js';
import { asValue, asWritten, PlainScalar } from './yaml-scalars.js';

export interface ResolvedSettings {
  readonly values: SettingValues;
  /** The path of the source of a setting, or `default`. */
  sourceOf(section: Section, key: string): string;
  readonly mistakes: string[];
  readonly warnings: string[];
}

const MOST_COMPARED = 2_000;
const NOT_COMPARED = { galaxy: undefined, sse: 'unknown setting' };

export function resolveSettings(gathered: CollectedSources): ResolvedSettings {
  const mistakes: string[] = [];
  const warnings: string[] = [];
  const winners = new Map<string, RawValue>();
  const checked = new Map<string, unknown>();
  let unknown = 0;
  for (const value of gathered.values) {
    if (!isKnown(value.section, value.key)) {
      unknown += 1;
      // Galaxy has some 400 settings, and each comparison with all of ours costs time.
      const remark = unknown <= MOST_COMPARED ? remarkOnUnknown(value) : NOT_COMPARED[value.section];
      if (remark) (value.section === 'sse' ? mistakes : warnings).push(`${value.path}: ${remark}`);
      continue;
    }
    // An empty line in the file (`statsd_host:`) leaves the default.
    if (value.raw === null || value.raw === undefined) continue;
    const setting = settingOf(value.section, value.key);
    const read = setting.read(value.raw);
    const name = `${value.section}.${value.key}`;
    if (read) {
      winners.set(name, value);
      checked.set(name, read.value);
    } else {
      // Even where a stronger source overrides it: the mistake would show up one day.
      mistakes.push(
        `${value.path}: must be ${setting.must}${setting.secret ? '' : `, is ${shown(value.raw)}`}`,
      );
    }
  }
  const attached = checked.get('sse.attach_to_galaxy') === true;
  if (attached) mistakes.push(...otherTexts([...winners.values()]));
  else warnings.push(...notOffered(gathered.values));
  const section = (name: Section) =>
    Object.fromEntries(
      Object.entries(SETTINGS[name] as Record<string, Setting<unknown>>).map(([key, setting]) => {
        const path = `${name}.${key}`;
        return [key, checked.has(path) ? checked.get(path) : defaultOf(setting, gathered.file, attached)];
      }),
    );
  return {
    values: { galaxy: section('galaxy'), sse: section('sse') } as unknown as SettingValues,
    sourceOf: (name, key) => winners.get(`${name}.${key}`)?.path ?? 'default',
    mistakes,
    warnings,
  };
}

function defaultOf(setting: Setting<unknown>, file: string | undefined, attached: boolean): unknown {
  if (attached && 'attached' in setting) return setting.attached;
  if (file === undefined && 'embedded' in setting) return setting.embedded;
  return setting.default;
}

const settingOf = (section: Section, key: string): Setting<unknown> =>
  (SETTINGS[section] as Record<string, Setting<unknown>>)[key]!;

/** Removed settings of Lightcone, and why nobody needs them any more. */
const REMOVED_SSE_KEYS: Readonly<Record<string, string>> = {
  resume_overlap: 'nothing depends on the duration of transactions any more',
};

/** A key of the other section, or a variable whose prefix is misspelt. */
function misplaced({ section, key, path }: RawValue): string | undefined {
  const isVariable = /^[A-Z0-9_]+$/.test(path);
  const variable = (name: string) => `did you mean ${GALAXY_ENV_OVERRIDE}${name.toUpperCase()}?`;
  if (section === 'sse') {
    if (isVariable && (key === 'config' || key === 'config_file')) return `did you mean ${FILE_ENV}?`;
    if (!isKnown('galaxy', key)) return undefined;
    return isVariable ? variable(key) : 'it belongs in the section galaxy:';
  }
  if (isKnown('sse', key) && !OTHER_GALAXY_KEYS.has(key))
    return isVariable
      ? `has no effect; did you mean ${LIGHTCONE_ENV}${key.toUpperCase()}?`
      : 'has no effect in this section; move the line to the section sse:';
  const meant = /^over[a-z]*_(.+)$/.exec(key)?.[1];
  return isVariable && meant && isKnown('galaxy', meant) ? `has no effect; ${variable(meant)}` : undefined;
}

function remarkOnUnknown(value: RawValue): string | undefined {
  const { section, key } = value;
  const elsewhere = misplaced(value);
  if (elsewhere) return section === 'sse' ? `unknown setting; ${elsewhere}` : elsewhere;
  const known = Object.keys(SETTINGS[section]);
  const nearest = known.find((name) => name.startsWith(key)) ?? closest(key, known);
  if (section === 'sse') {
    if (Object.hasOwn(REMOVED_SSE_KEYS, key))
      return `this setting was removed: ${REMOVED_SSE_KEYS[key]}; delete the line`;
    return `unknown setting; did you mean ${nearest}?`;
  }
  const successor = Object.hasOwn(REMOVED_KEYS, key) ? REMOVED_KEYS[key] : undefined;
  if (successor) return `this key was removed and has no effect; use ${successor}`;
  if (OTHER_GALAXY_KEYS.has(key) || distance(key, nearest) > 2) return undefined;
  return `Lightcone reads no such setting; did you mean ${nearest}?`;
}

/** Beside a Galaxy both must read the same text, and Galaxy reads `017` without quotes as fifteen. */
const otherTexts = (values: readonly RawValue[]): string[] =>
  values.flatMap(({ section, key, path, raw }) => {
    const { type, secret } = settingOf(section, key);
    if (section !== 'galaxy' || (type !== 'text' && type !== 'list')) return [];
    if (!(raw instanceof PlainScalar) || raw.asGalaxy === raw.written) return [];
    const other = secret ? 'another text' : raw.asGalaxy;
    return [`${path}: has no quotes, so Galaxy reads it as ${other}; put that text in quotes`];
  });

const notOffered = (values: readonly RawValue[]): string[] =>
  values
    .filter(
      ({ section, key }) =>
        section === 'galaxy' && (NOT_OFFERED_STANDALONE as readonly string[]).includes(key),
    )
    .filter(({ raw }) => raw && !/^(false|no|off|0)$/i.test(String(asWritten(raw))))
    .map(({ path }) => `${path}: has no effect; a standalone Lightcone supports API keys and sessions only`);

/** A value as the file has it, truncated. */
function shown(raw: unknown): string {
  const text = raw instanceof PlainScalar ? raw.written : JSON.stringify(raw, (_, part) => asValue(part));
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
