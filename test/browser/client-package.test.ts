/** The client as people install it: the packed tarball in projects of Vite with React and with Vue. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../support/chromium.js';
import { DEMO, Installation } from '../support/installation.js';
import { installPackedClient } from '../support/packed-client.js';

const TYPES: Record<string, string> = { html: 'text/html', js: 'text/javascript' };
let folder: string;
let browser: Browser;
let here: Installation;
let url: string;
let site: string;
let files = '';
const server = createServer(({ url: path = '/' }, response) => {
  const file = path === '/' ? 'index.html' : path.slice(1).split('?')[0]!;
  try {
    const bytes = readFileSync(join(files, file));
    response.writeHead(200, { 'content-type': TYPES[file.split('.').pop()!] ?? 'text/plain' }).end(bytes);
  } catch {
    response.writeHead(404).end();
  }
});

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-client-'));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  site = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  here = Installation.embedded();
  [browser, { url }] = await Promise.all([
    launchChromium(),
    here.worker({ sse: { allowed_origins: [site] } }),
  ]);
  installPackedClient(folder);
});
afterAll(async () => {
  await browser.close();
  await here.close();
  server.close();
  rmSync(folder, { recursive: true });
});

const MAINS = {
  react: () => `
    import { createElement, StrictMode, useState } from 'react';
    import { createRoot } from 'react-dom/client';
    import { useEvent, useLightcone } from '@lightcone/client/react';
    function App() {
      const { client, state } = useLightcone({ baseUrl: '${url}', apiKey: 'demo-alice' });
      const [ids, setIds] = useState([]);
      useEvent(client, 'history_update', ({ history_ids }) => setIds((before) => [...before, ...history_ids]));
      return createElement('p', null, state, ' ', ids.join(' '));
    }
    createRoot(document.getElementById('app')).render(createElement(StrictMode, null, createElement(App)));`,
  vue: () => `
    import { createApp, h, onMounted, ref } from 'vue';
    import { configureSSE, useSSE } from '@lightcone/client/vue';
    configureSSE({ baseUrl: '${url}', apiKey: 'demo-alice' });
    createApp({
      setup() {
        const ids = ref([]);
        const { connect, connected } = useSSE((event) => ids.value.push(...JSON.parse(event.data).history_ids), ['history_update']);
        onMounted(connect);
        return () => h('p', [connected.value ? 'live' : 'connecting', ' ', ids.value.join(' ')]);
      },
    }).mount('#app');`,
};

describe.each(['react', 'vue'] as const)('a Vite project with %s', (framework) => {
  it('builds from the tarball, runs, and its tabs share one stream', async () => {
    const project = join(folder, framework);
    mkdirSync(project);
    writeFileSync(join(project, 'main.js'), MAINS[framework]());
    writeFileSync(
      join(project, 'index.html'),
      '<!doctype html><title>t</title><div id="app"></div><script type="module" src="/main.js"></script>',
    );
    // As while developing: React mounts, unmounts and mounts again.
    const define = { 'process.env.NODE_ENV': '"development"' };
    await build({ root: project, logLevel: 'error', configFile: false, define });
    files = join(project, 'dist');
    const context = await browser.newContext();
    try {
      const tabs = [await context.newPage(), await context.newPage()];
      for (const tab of tabs) {
        await tab.goto(site);
        await tab.getByText('live').waitFor();
      }
      const status = await fetch(`${url}/api/status`, { headers: { 'x-api-key': 'demo-admin' } });
      expect(((await status.json()) as { connections: { open: number } }).connections.open).toBe(1);
      await here.change(DEMO.histories.alice);
      for (const tab of tabs) await tab.getByText(here.encode(DEMO.histories.alice)).waitFor();
    } finally {
      await context.close();
    }
  });
});

it('what a page loads is under 6 kB, minified and compressed, and so is the worker', () => {
  for (const name of ['index', 'worker']) {
    const file = readFileSync(join(folder, `package/dist/${name}.js`));
    expect(gzipSync(file, { level: 9 }).length, name).toBeLessThan(6_000);
  }
});
