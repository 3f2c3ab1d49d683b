/** Each example of docs/client.md and of the package's README does what it says, with the packed client, against a real server. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'vite';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type ChromiumEngine, chromiumEngine } from '../support/chromium.js';
import { DEMO, Installation } from '../support/installation.js';
import { installPackedClient } from '../support/packed-client.js';
import { StreamProxy } from '../support/stream-proxy.js';

const ROOT = resolve(import.meta.dirname, '../..');
const TYPES: Record<string, string> = { html: 'text/html', js: 'text/javascript' };
const { anonymous, alice } = DEMO.histories;
const RELOAD = "globalThis.reload = (what) => console.log('reload', JSON.stringify(what));\n";

/** By name; each block of code has one. */
function examplesOf(path: string): Map<string, string> {
  const page = readFileSync(join(ROOT, path), 'utf8');
  const named = [...page.matchAll(/<!-- example: (\w+) -->\n```\w+\n([\s\S]*?)```/g)];
  const blocks = page.split('\n').filter((line) => /^```\w/.test(line)).length;
  expect(named, `every block of code of ${path} has a name`).toHaveLength(blocks);
  return new Map(named.map(([, name, code]) => [name!, code!]));
}

const docs = examplesOf('docs/client.md');
const readme = examplesOf('packages/client/README.md');
/** Of all examples; each test below takes its own. */
const untried = new Set([...docs.keys(), ...[...readme.keys()].map((name) => `readme ${name}`)]);
function example(name: string): string {
  untried.delete(name);
  const code = name.startsWith('readme ') ? readme.get(name.slice(7)) : docs.get(name);
  expect(code, name).toBeDefined();
  return code!;
}

let folder: string;
let engine: ChromiumEngine;
let here: Installation;
let proxy: StreamProxy;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-client-docs-'));
  here = Installation.embedded();
  const [{ url }] = await Promise.all([here.worker(), Promise.resolve(installPackedClient(folder))]);
  proxy = await StreamProxy.to(url);
  engine = await chromiumEngine();
});
afterAll(async () => {
  await engine.close();
  await proxy.stop();
  await here.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  const [name, value] = (await here.cookieOf(DEMO.anonymousSession)).cookie.split('=') as [string, string];
  await engine.context.addCookies([{ name, value, url: proxy.url }]);
});

/** A page of the server's origin, as a visitor with a history sees it. @returns what it wrote on the console */
async function visit(
  files: (path: string) => Buffer | undefined,
): Promise<{ said: string[]; text: () => Promise<string> }> {
  proxy.answer = (path, response) => {
    const bytes = path.startsWith('/app/') ? files(path.slice(5).split('?')[0] || 'index.html') : undefined;
    if (!bytes) return false;
    response.writeHead(200, { 'content-type': TYPES[path.split('.').pop()!] ?? 'text/html' }).end(bytes);
    return true;
  };
  const page = await engine.context.newPage();
  const said: string[] = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(String(error)));
  await page.goto(`${proxy.url}/app/`);
  return { said, text: () => page.evaluate<string>('document.body.innerText') };
}

/** Built by Vite from the packed client. `globals` is what the examples leave to the reader. */
async function visitProject(name: string, main: string, globals = ''): ReturnType<typeof visit> {
  const project = join(folder, name);
  mkdirSync(project);
  writeFileSync(join(project, 'main.jsx'), main);
  writeFileSync(
    join(project, 'index.html'),
    `<!doctype html><title>t</title><script>${RELOAD}${globals}</script>
    <div id="app"></div><script type="module" src="/main.jsx"></script>`,
  );
  await build({ root: project, base: '/app/', logLevel: 'error', configFile: false });
  return visit((path) => {
    try {
      return readFileSync(join(project, 'dist', path));
    } catch {
      return undefined;
    }
  });
}

const isReload = () => expect.stringMatching(new RegExp(`^reload .*"${here.encode(anonymous)}"`));

it('a page takes the client from the server, without a build', async () => {
  const script = example('html').replace('</script>', `${example('client')}</script>`);
  const page = Buffer.from(`<!doctype html><title>t</title>${script}`);
  const { said } = await visit((path) => (path === 'index.html' ? page : undefined));
  await expect.poll(() => said, { timeout: 10_000 }).toContain('live');
  await here.change(anonymous);
  const id = here.encode(anonymous);
  await expect.poll(() => said).toContainEqual(expect.stringMatching(`look again at.*${id}`));
});

it('a component of React', async () => {
  const main = `import { createRoot } from 'react-dom/client';
    ${example('react')}
    createRoot(document.getElementById('app')).render(<Dot />);`;
  // The JSX of a project with React's automatic runtime.
  const { said, text } = await visitProject('react', `/** @jsxImportSource react */\n${main}`);
  await expect.poll(text, { timeout: 10_000 }).toBe('live');
  await here.change(anonymous);
  await expect.poll(() => said).toContainEqual(isReload());
});

it('a component of Vue', async () => {
  const lines = example('vue').split('\n');
  const imports = lines.filter((line) => line.startsWith('import'));
  const setup = lines.filter((line) => !line.startsWith('import')).join('\n');
  const { said, text } = await visitProject(
    'vue',
    `import { createApp, h, onMounted } from 'vue';
    ${imports.join('\n')}
    createApp({ setup() { ${setup}; onMounted(connect); return () => h('p', connected.value ? 'live' : 'not yet'); } }).mount('#app');`,
  );
  await expect.poll(text, { timeout: 10_000 }).toBe('live');
  await here.change(anonymous);
  await expect.poll(() => said).toContainEqual(isReload());
});

it('the README: a page that reloads, and one that holds the contents of a history', async () => {
  const { said } = await visitProject(
    'readme',
    `${example('readme client').replace('https://example.org/galaxy', proxy.url)}
    ${example('readme history')}`,
    `globalThis.showDot = (isLive) => console.log('live', isLive);
    globalThis.render = (items) => console.log('items', items.length);
    globalThis.historyId = '${here.encode(anonymous)}';`,
  );
  await expect.poll(() => said, { timeout: 10_000 }).toContain('live true');
  await expect.poll(() => said).toContainEqual(expect.stringMatching(/^items \d+$/));
  await here.change(anonymous);
  await expect.poll(() => said).toContainEqual(isReload());
});

it('Node.js', async () => {
  const code = example('node').replace('http://127.0.0.1:8080', proxy.url);
  writeFileSync(join(folder, 'example.mjs'), code);
  const child = execFile(process.execPath, [join(folder, 'example.mjs')], { cwd: folder });
  let out = '';
  child.stdout!.on('data', (text: string) => {
    out += text;
  });
  child.stderr!.on('data', (text: string) => {
    out += text;
  });
  const before = proxy.streams.length;
  try {
    await expect.poll(() => proxy.streams.length, { timeout: 10_000 }).toBe(before + 1);
    await expect
      .poll(
        async () => {
          await here.change(alice);
          return out;
        },
        { timeout: 10_000, interval: 500 },
      )
      .toContain(here.encode(alice));
  } finally {
    child.kill();
  }
});

it('installing it is what the tests of the package do', () => {
  expect(example('install')).toBe('npm install @lightcone/client\n');
});

it('no example is left out', () => {
  expect([...untried]).toEqual([]);
});
