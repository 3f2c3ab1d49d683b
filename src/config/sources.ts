/**
 * The sources of settings. Each source yields raw values, each with its path for messages. `values.ts` picks the
 * strongest source.
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
  /** The base of relative file names. */
  readonly cwd: string;
  /** Settings of an embedding application, in the format of galaxy.yml. */
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

/** A raw value and its path in messages: `galaxy.yml: sse.queue_size`, `LIGHTCONE_QUEUE_SIZE`, `--queue-size`. */
export interface RawValue {
  readonly section: Section;
  readonly key: string;
  readonly raw: unknown;
  readonly path: string;
}

export interface CollectedSources {
  /** Weakest first. */
  readonly values: RawValue[];
  /** Undefined for the embedded defaults. */
  readonly file: string | undefined;
  readonly mistakes: string[];
  readonly warnings: string[];
}

export const FILE_ENV = 'GALAXY_CONFIG_FILE';
const GALAXY_ENV_DEFAULT = 'GALAXY_CONFIG_';
export const GALAXY_ENV_OVERRIDE = 'GALAXY_CONFIG_OVERRIDE_';
export const LIGHTCONE_ENV = 'LIGHTCONE_';

export function collectSources(
  { env, flags, settings = {} }: LoadOptions,
  resolvePath: (path: string) => string,
): CollectedSources {
  const file = flags.config ?? (env[FILE_ENV] || undefined);
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
  const overriding = (name: string) => name.startsWith(GALAXY_ENV_OVERRIDE);
  const defaults = names.filter((name) => name !== FILE_ENV && !overriding(name));
  return {
    values: [
      ...fromEnvironment(env, 'galaxy', GALAXY_ENV_DEFAULT, defaults),
      ...fromFile,
      ...rawValues('galaxy', settings.galaxy ?? {}, 'settings'),
      ...rawValues('sse', settings.sse ?? {}, 'settings'),
      ...fromEnvironment(env, 'galaxy', GALAXY_ENV_OVERRIDE, names),
      ...fromEnvironment(env, 'sse', LIGHTCONE_ENV, names),
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

/** Whether Lightcone reads this key. `galaxy:` contains many other keys. */
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
