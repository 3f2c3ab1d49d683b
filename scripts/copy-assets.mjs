// The last step of the build: what tsc does not do. Pages go to dist/web and dist/docs, the executables become executable,
// and what earlier builds left goes, so that it is not packed.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { docsPages, indexOf } from './docs-pages.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

cpSync(join(root, 'src/web'), join(root, 'dist/web'), { recursive: true });
// The browser client as it is published, at the path that the server serves.
mkdirSync(join(root, 'dist/client'), { recursive: true });
for (const [from, to] of [
  ['index.js', 'lightcone.js'],
  ['worker.js', 'worker.js'],
  ['history.js', 'history.js'],
  ['marks.js', 'marks.js'],
]) {
  copyFileSync(join(root, 'packages/client/dist', from), join(root, 'dist/client', to));
}
// Plots of the status page, with the licence that asks to be beside them.
const uplot = (file) => readFileSync(join(root, 'node_modules/uplot', file), 'utf8');
for (const type of ['js', 'css']) {
  const licence = `/*!\n${uplot('LICENSE')}*/\n`;
  const from = type === 'js' ? 'dist/uPlot.iife.min.js' : 'dist/uPlot.min.css';
  writeFileSync(join(root, `dist/web/uplot.${type}`), licence + uplot(from));
}
// docs/ as an installation serves it; its pictures are served from docs/ itself.
const sources = { changelog: readFileSync(join(root, 'CHANGELOG.md'), 'utf8') };
for (const file of readdirSync(join(root, 'docs')))
  if (file.endsWith('.md')) sources[file.slice(0, -3)] = readFileSync(join(root, 'docs', file), 'utf8');
const pages = docsPages(sources, indexOf(readFileSync(join(root, 'README.md'), 'utf8'), sources));
mkdirSync(join(root, 'dist/docs'), { recursive: true });
for (const [name, html] of Object.entries(pages)) writeFileSync(join(root, `dist/docs/${name}.html`), html);

for (const file of Object.values(bin)) chmodSync(join(root, file), 0o755);

// Of the types, only what those of the package lead to.
const types = new Set();
const keep = (file) => {
  if (types.has(file)) return;
  types.add(file);
  for (const [, to] of readFileSync(file, 'utf8').matchAll(/(?:from |import\()['"](\..+?)\.js['"]/g))
    keep(join(dirname(file), `${to}.d.ts`));
};
keep(join(root, 'dist/index.d.ts'));
const isSpare = (path) => path.endsWith('.d.ts') && !types.has(join(root, 'dist', path));

const hasSource = (path) =>
  existsSync(join(root, 'src', path)) || existsSync(join(root, 'src', path.replace(/\.(js|d\.ts)$/, '.ts')));
for (const path of readdirSync(join(root, 'dist'), { recursive: true })) {
  const isBuilt =
    hasSource(path) ||
    /^client(\/(lightcone|worker|history|marks)\.js)?$|^web\/uplot\.(js|css)$/.test(path) ||
    path === 'docs' ||
    basename(path, '.html') in pages;
  if (isSpare(path) || !isBuilt) rmSync(join(root, 'dist', path), { recursive: true, force: true });
}
