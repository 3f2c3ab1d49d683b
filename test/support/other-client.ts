import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { rolldown } from 'rolldown';

const SOURCE = resolve(import.meta.dirname, '../../packages/client/src');

/** The files of a client that speaks another version of the protocol between tabs, by name. */
export async function otherClient(): Promise<Record<string, string>> {
  const plugin = {
    name: 'another version',
    load: (id: string) => {
      if (!id.endsWith('messages.ts')) return undefined;
      const text = readFileSync(id, 'utf8');
      const changed = text.replace('PROTOCOL = 1', 'PROTOCOL = 2');
      if (changed === text) throw new Error('messages.ts names its version in another way');
      return changed;
    },
  };
  const files: Record<string, string> = {};
  for (const [name, source] of [
    ['lightcone.js', 'index.ts'],
    ['worker.js', 'worker.ts'],
  ] as const) {
    const external = ['./history.js', './marks.js', './worker.js'];
    const bundle = await rolldown({ input: join(SOURCE, source), external, plugins: [plugin] });
    const { output } = await bundle.generate({ format: 'esm' });
    files[name] = output[0].code;
    await bundle.close();
  }
  return files;
}
