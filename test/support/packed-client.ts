import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/** Packs the client and unpacks it in `folder`, as `npm install` does, beside React and Vue. @returns where it is */
export function installPackedClient(folder: string): string {
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '-w', '@lightcone/client', '--json', '--pack-destination', folder], {
      cwd: ROOT,
      encoding: 'utf8',
    }),
  );
  const modules = join(folder, 'node_modules');
  const installed = join(modules, '@lightcone/client');
  mkdirSync(join(modules, '@lightcone'), { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', folder]);
  cpSync(join(folder, 'package'), installed, { recursive: true });
  for (const name of ['react', 'react-dom', 'scheduler', 'vue', '@vue']) {
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  return installed;
}
