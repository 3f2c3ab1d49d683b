// `npm run screenshots`: the pages as docs show them, into docs/images. Needs a build and Debian's chromium.
//   npm run screenshots -- all DIRECTORY   every page, desktop and phone, light and dark, to be looked at
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const [mode, directory] = process.argv.slice(2);
const images = mode === 'all' ? (directory ?? '.') : join(ROOT, 'docs/images');
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };

const PAGES = {
  demo: {
    path: '/',
    async show(page) {
      await page.locator('.pane .name').nth(2).waitFor();
      const first = page.locator('.pane').first();
      for (const name of ['RNA-seq', 'RNA-seq, trimmed']) {
        await first.locator('.name').fill(name);
        await first.getByRole('button', { name: 'Rename' }).click();
        await page.locator('.pane').nth(1).locator('.log b').first().waitFor();
        await page.waitForTimeout(1_800);
      }
      await page.evaluate('document.activeElement.blur()');
    },
  },
  status: {
    path: '/status',
    async show(page) {
      const demo = await page.context().newPage();
      await demo.goto(new URL('/', page.url()).href);
      for (const pane of [0, 1, 2]) await demo.locator('.pane').nth(pane).getByText('connected').waitFor();
      await demo.locator('.name').first().fill('RNA-seq');
      await demo.getByRole('button', { name: 'Rename' }).first().click();
      await demo.locator('.log b').first().waitFor();
      await page.locator('#login input').fill('demo-admin');
      await page.getByRole('button', { name: 'Show the status' }).click();
      await page.locator('#findings li').first().waitFor();
      await page.waitForTimeout(1_500);
    },
  },
  login: { path: '/status', show: (page) => page.locator('#login').waitFor() },
  home: { path: '/', plain: true, show: (page) => page.getByText('takes new streams').waitFor() },
  api: {
    path: '/api/docs#getEventsStream',
    show: (page) => page.locator('#getEventsStream[open] dd').last().waitFor(),
  },
  docs: { path: '/docs', show: (page) => page.locator('table').waitFor() },
  page: { path: '/docs/stream', show: (page) => page.locator('table').first().waitFor() },
};
/** What docs refer to. */
const SHOWN = ['demo', 'status'];

const data = mkdtempSync(join(tmpdir(), 'lightcone-screenshots-'));
const servers = [];

/** @returns its address, once it takes streams */
async function serve(port, ...flags) {
  const child = spawn(
    process.execPath,
    [join(ROOT, 'dist/cli.js'), 'serve', '--listen', `127.0.0.1:${port}`, '--log-level', 'warn', ...flags],
    {
      cwd: data,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        ...process.env,
        GALAXY_CONFIG_OVERRIDE_DATABASE_CONNECTION: `sqlite:///${join(data, `${port}.sqlite`)}`,
      },
    },
  );
  servers.push(child);
  const address = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries += 1) {
    const ready = await fetch(`${address}/readyz`).catch(() => undefined);
    if (ready?.ok) return address;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`the server at ${address} does not become ready`);
}

const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
try {
  mkdirSync(images, { recursive: true });
  const demo = await serve(18_431, '--demo');
  const plain = await serve(18_432);
  for (const [name, page] of Object.entries(PAGES)) {
    for (const [size, viewport] of Object.entries(SIZES)) {
      if (mode !== 'all' && (size === 'phone' || !SHOWN.includes(name))) continue;
      for (const colorScheme of ['light', 'dark']) {
        const context = await browser.newContext({ colorScheme, viewport });
        const tab = await context.newPage();
        await tab.goto((page.plain ? plain : demo) + page.path);
        await page.show(tab);
        const file = `${name}${size === 'phone' ? '-phone' : ''}-${colorScheme}.png`;
        await tab.screenshot({ path: join(images, file), fullPage: mode === 'all' });
        await context.close();
      }
    }
  }
} finally {
  await browser.close();
  await Promise.all(
    servers.map((server) => {
      server.kill();
      return once(server, 'exit');
    }),
  );
  rmSync(data, { recursive: true, force: true });
}
