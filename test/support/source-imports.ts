/** The import graph of `src`, read from the text of the files. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

export interface Import {
  /** Relative to `src`, such as `bus/amqp/bus.ts`. */
  from: string;
  /** The same, or the name of a package or of a part of Node.js. */
  to: string;
  /** The names taken, without `type` ones; empty for types only and for a lazy import. */
  values: string[];
}

const SRC = resolve(import.meta.dirname, '../../src');
const STATEMENT =
  /^(?:import|export)\s+(type\s+)?([^'";]*?)\s*from\s+'([^']+)'|^import\s+'([^']+)'|import\('([^']+)'\)/gm;

export function sourceFiles(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
}

export function readSource(file: string): string {
  return readFileSync(join(SRC, file), 'utf8');
}

export function importsOf(file: string): Import[] {
  return [...readSource(file).matchAll(STATEMENT)].map(([, typeOnly, names = '', from, bare, dynamic]) => {
    const target = (from ?? bare ?? dynamic)!;
    return {
      from: file,
      to: target.startsWith('.')
        ? relative(SRC, resolve(SRC, dirname(file), target)).replace(/\.js$/, '.ts')
        : target,
      values: typeOnly ? [] : valueNames(names),
    };
  });
}

function valueNames(names: string): string[] {
  return names
    .replace(/[{}]/g, ' ')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && !name.startsWith('type '))
    .map((name) => name.split(/\s+as\s+/)[0]!);
}
