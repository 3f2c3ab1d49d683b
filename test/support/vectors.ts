import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const PAGE = resolve(import.meta.dirname, '../../docs/vectors.md');

/** The block of that name on the page of test vectors. */
export function vectorsOf<Vector>(name: string): Vector[] {
  const [, block] = new RegExp(`<!-- vectors: ${name} -->\n\`\`\`json\n(.*?)\n\`\`\``, 's').exec(
    readFileSync(PAGE, 'utf8'),
  ) ?? [undefined, undefined];
  if (block === undefined) throw new Error(`docs/vectors.md has no block of ${name}`);
  return JSON.parse(block) as Vector[];
}
