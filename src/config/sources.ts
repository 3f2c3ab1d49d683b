/**
 * Where settings come from. Each source gives raw values with the path an administrator knows them by; `values.ts` lets
 * the stronger win.
 */
import { type RawSection, readSettingsFile } from './file.js';
import {
  GALAXY_SETTINGS,
  type GalaxyKey,
  type Section,
  type SettingValues,
  SSE_SETTINGS,
  type SseKey,
} from './schema.js';
import { SettingError } from './setting-error.js';

export interface LoadOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags: Flags;
  /** Relative file names are found from here. */
  readonly cwd: string;
  /** Of an application that embeds Lightcone, in the form of galaxy.yml. */
  readonly settings?: EmbeddedSettings | undefined;
}

/** Command-line flags: `--config`, and one flag per key of the `sse:` section (`--max-connections`). */
export interface Flags {
  readonly config?: string | undefined;
  readonly sse?: Readonly<Partial<Record<SseKey, string>>>;
}

/** Sections of galaxy.yml as an object. */
export interface EmbeddedSettings {
  readonly galaxy?: { readonly [Key in GalaxyKey]?: SettingValues['galaxy'][Key] };
  readonly sse?: { readonly [Key in SseKey]?: SettingValues['sse'][Key] };
}

/** One raw value, and how to name it in a message: `galaxy.yml: sse.queue_size`, `LIGHTCONE_QUEUE_SIZE`, `--queue-size`. */
export interface RawValue {
  readonly section: Section;
  readonly key: string;
  readonly raw: unknown;
  readonly path: string;
}

export interface CollectedSources {
  /** Weakest first. */
  readonly values: RawValue[];
  /** Undefined in the embedded default. */
  readonly file: string | undefined;
  readonly mistakes: string[];
  readonly warnings: string[];
}

const WEAK = 'GALAXY_CONFIG_';
const STRONG = 'GALAXY_CONFIG_OVERRIDE_';
const OWN = 'LIGHTCONE_';

export function collectSources(
  { env, flags, settings = {} }: LoadOptions,
  resolvePath: (path: string) => string,
): CollectedSources {
  const file = flags.config ?? (env.GALAXY_CONFIG_FILE || undefined);
  const mistakes: string[] = [];
  const warnings: string[] = [];
  const fromFile: RawValue[] = [];
  if (file !== undefined) {
    try {
      const content = readSettingsFile(resolvePath(file));
      fromFile.push(...rawValues('galaxy', content.galaxy, file), ...rawValues('sse', content.sse, file));
      warnings.push(...content.warnings.map((warning) => `${file}: ${warning}`));
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      mistakes.push(`${file}: ${error.message}`);
    }
  }
  const names = Object.keys(env).filter((name) => env[name] !== undefined);
  const galaxyKeys = (prefix: string) =>
    fromEnvironment(env, 'galaxy', prefix, names).filter(({ key }) => isKnown('galaxy', key));
  return {
    values: [
      ...galaxyKeys(WEAK),
      ...fromFile,
      ...rawValues('galaxy', settings.galaxy ?? {}, 'settings'),
      ...rawValues('sse', settings.sse ?? {}, 'settings'),
      ...galaxyKeys(STRONG),
      ...fromEnvironment(env, 'sse', OWN, names),
      ...Object.entries(flags.sse ?? {}).map(([key, raw]) => ({
        section: 'sse' as const,
        key,
        raw,
        path: flagName(key),
      })),
    ],
    file,
    mistakes,
    warnings,
  };
}

export const flagName = (key: string): string => `--${key.replaceAll('_', '-')}`;

/** Whether Lightcone reads this key; `galaxy:` holds many others. */
export const isKnown = (section: Section, key: string): boolean =>
  Object.hasOwn(section === 'sse' ? SSE_SETTINGS : GALAXY_SETTINGS, key);

const rawValues = (section: Section, content: RawSection, file: string): RawValue[] =>
  Object.entries(content).map(([key, raw]) => ({ section, key, raw, path: `${file}: ${section}.${key}` }));

function fromEnvironment(
  env: LoadOptions['env'],
  section: Section,
  prefix: string,
  names: readonly string[],
): RawValue[] {
  return names
    .filter((name) => name.startsWith(prefix))
    .map((name) => ({ section, key: name.slice(prefix.length).toLowerCase(), raw: env[name], path: name }));
}
