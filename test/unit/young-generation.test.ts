/** In processes of their own: a heap that has grown does not come back. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';

const MODULE = pathToFileURL(
  resolve(import.meta.dirname, '../../dist/node-internals/young-generation.js'),
).href;

/** The size in MiB after much has been allocated that outlives its turn, as in a worker that thousands of tabs connect to. */
function grown(bound: boolean): number {
  const program = `
    const { boundYoungGeneration, youngGenerationBytes } = await import('${MODULE}');
    if (${bound}) boundYoungGeneration();
    const kept = [];
    for (let turn = 0; turn < 400; turn += 1) {
      for (let i = 0; i < 2000; i += 1) kept.push({ turn, i, text: String(i), list: [i] });
      if (kept.length > 200_000) kept.splice(0, 100_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    console.log(youngGenerationBytes() / 1024 / 1024);
  `;
  return Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }));
}

describe('the young generation of the heap', () => {
  it('grows large when it is left alone', () => {
    expect(grown(false)).toBeGreaterThanOrEqual(16);
  });

  it('stays small, and does not keep the process alive', () => {
    expect(grown(true)).toBeLessThanOrEqual(8);
  });
});
