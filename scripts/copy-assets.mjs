// The last step of the build: pages go to dist/web, the client to dist/client, and the executables become executable.
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const pages = join(root, 'src/web');
if (existsSync(pages)) cpSync(pages, join(root, 'dist/web'), { recursive: true });
// The browser client as it is published, at the path that the server serves.
mkdirSync(join(root, 'dist/client'), { recursive: true });
for (const [from, to] of [
  ['index.js', 'lightcone.js'],
  ['worker.js', 'worker.js'],
]) {
  copyFileSync(join(root, 'packages/client/dist', from), join(root, 'dist/client', to));
}
for (const file of Object.values(bin)) chmodSync(join(root, file), 0o755);
