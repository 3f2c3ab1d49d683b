/** Reads galaxy.yml and returns its two sections. Reports line and column where the text is not YAML. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Document } from 'yaml';
import { SettingError } from './setting-error.js';
import { resolvePlain } from './yaml-scalars.js';

export type RawSection = Readonly<Record<string, unknown>>;

export interface SettingsFile {
  galaxy: RawSection;
  sse: RawSection;
  warnings: string[];
}

/** @throws SettingError without the name of the file, which the caller adds */
export function readSettingsFile(path: string): SettingsFile {
  return parseSettings(readText(path), path);
}

function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    if (error instanceof TypeError) throw new SettingError('is not UTF-8 text; save it as UTF-8');
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new SettingError('the file does not exist');
    if (code === 'EISDIR') throw new SettingError('is a directory; give a file, such as galaxy.yml');
    if (code === 'EACCES') throw new SettingError('this user lacks the permission to read it');
    throw new SettingError(`cannot be read (${code})`);
  }
}

function parseSettings(text: string, path: string): SettingsFile {
  if (path.endsWith('.ini') || /^\s*\[app:main\]/m.test(text)) {
    throw new SettingError(
      'has the ini format, which Lightcone does not read; write the keys of [app:main] as "key: value" lines under "galaxy:" in a galaxy.yml',
    );
  }
  // Loaded lazily: a start without a settings file does not need the seventy files of this package.
  const yaml = createRequire(import.meta.url)('yaml') as typeof import('yaml');
  // Galaxy uses the last of two equal keys. Every scalar is text at first.
  const document = yaml.parseDocument(text, {
    schema: 'failsafe',
    merge: true,
    uniqueKeys: false,
    logLevel: 'silent',
  });
  const mistake = document.errors[0] ?? document.warnings[0];
  if (mistake) {
    const at = mistake.linePos?.[0];
    const where = at ? `line ${at.line}, column ${at.col}: ` : '';
    throw new SettingError(`${where}${reason(mistake)}`);
  }
  yaml.visit(document, {
    Scalar: (key, node) => {
      if (key !== 'key' && node.type === 'PLAIN' && node.tag === undefined) {
        node.value = resolvePlain(node.source ?? '');
      }
    },
  });
  const keysOf = (node: unknown): string[] =>
    yaml.isMap(node) ? node.items.map(({ key }) => String(key)) : [];
  const own = repeated(keysOf(document.get('sse', true)));
  if (own.length > 0) throw new SettingError(`sse.${own[0]}: duplicate key`);
  const settings = split(plain(document));
  for (const key of [
    ...repeated(keysOf(document.contents)),
    ...repeated(keysOf(document.get('galaxy', true))),
  ]) {
    settings.warnings.push(`${key}: duplicate key; the last value applies, as in Galaxy`);
  }
  return settings;
}

function plain(document: Document): unknown {
  try {
    return document.toJS();
  } catch (error) {
    // Nested aliases expand a few lines to more than the memory holds.
    throw new SettingError(`not valid YAML: ${(error as Error).message}`);
  }
}

function repeated(keys: readonly string[]): string[] {
  const seen = new Set<string>();
  return keys.filter((key) => key !== '<<' && seen.size === seen.add(key).size);
}

/** Cuts off the rest of the library's message, which quotes the text around the mistake and may contain a password. */
function reason({ code, message }: { code: string; message: string }): string {
  if (code === 'TAG_RESOLVE_FAILED')
    return 'has an unknown tag (!…), which Galaxy does not know either; write the value itself';
  if (code === 'TAB_AS_INDENT') return 'is indented with a tab; use spaces';
  return `not valid YAML: ${message.split(/ at line |\n/)[0]!.slice(0, 120)}`;
}

function split(content: unknown): SettingsFile {
  if (content === null || content === undefined) {
    throw new SettingError(
      'is empty; it needs a section "galaxy:" (without a settings file, Lightcone uses its embedded defaults)',
    );
  }
  if (!isMapping(content)) throw new SettingError('must have a section "galaxy:" with "key: value" lines');
  const warnings: string[] = [];
  if (!('galaxy' in content) && !('sse' in content)) {
    throw new SettingError('has neither a section "galaxy:" nor a section "sse:"');
  }
  if ('galaxy' in content && content.galaxy === null) {
    warnings.push('galaxy: this section is empty, so the defaults apply');
  }
  const { sse: nested, ...galaxy } = section(content, 'galaxy');
  const sse = section(content, 'sse');
  if (nested === undefined || nested === null) return { galaxy, sse, warnings };
  if ('sse' in content) throw new SettingError('sse: duplicate section, at the top level and inside galaxy:');
  return { galaxy, sse: section({ sse: nested }, 'sse'), warnings };
}

function section(content: Record<string, unknown>, name: string): Record<string, unknown> {
  const value = content[name] ?? {};
  if (!isMapping(value)) throw new SettingError(`${name}: must be a section with "key: value" lines`);
  return value;
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
