// The last step of the build: what tsc does not write. Pages go to dist/web, and the executables become executable.
import { chmodSync, cpSync, existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const pages = join(root, 'src/web');
if (existsSync(pages)) cpSync(pages, join(root, 'dist/web'), { recursive: true });
for (const file of Object.values(bin)) chmodSync(join(root, file), 0o755);
