/** Which programs test files need: what they and the files that they import, at any depth, locate. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

const IMPORT = /^(?:import|export)\s+(?!type\b)[^'";]*?from\s+'(\.[^']+)'|import\('(\.[^']+)'\)/gm;
const LOCATE = /\b(?:locate|sharedService)\('([^']+)'\)/g;
/** What global-setup starts for those who share it. */
const SERVICES: Record<string, string> = { postgres: 'postgresql', rabbitmq: 'rabbitmq-server' };

export function needsOf(files: readonly string[]): Set<string> {
  const needs = new Set<string>();
  const seen = new Set<string>();
  const waiting = [...files];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file) || !existsSync(file)) continue;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, name] of text.matchAll(LOCATE)) needs.add(SERVICES[name!] ?? name!);
    // The product's own files locate nothing.
    for (const [, from, lazy] of text.matchAll(IMPORT)) {
      const path = resolve(dirname(file), (from ?? lazy)!.replace(/\.js$/, '.ts'));
      if (!path.includes('/src/')) waiting.push(path);
    }
  }
  return needs;
}
