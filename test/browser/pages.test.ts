import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Worker } from '../../src/app/processes/worker.js';
import { loadConfig } from '../../src/config/load.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { launchChromium } from '../support/chromium.js';
import { locate } from '../support/programs.js';

const PREFIX = '/galaxy';
let browser: Browser;
let directory: string;
let worker: Worker;
let context: BrowserContext;
let page: Page;
/** What the page complained of; a violated content policy is among it. */
let complaints: string[];

function createWorker(listen: string, demo = true, env: Record<string, string> = {}): Promise<Worker> {
  const config = loadConfig({
    env: {
      GALAXY_CONFIG_OVERRIDE_GALAXY_URL_PREFIX: PREFIX,
      GALAXY_CONFIG_OVERRIDE_DATABASE_CONNECTION: `sqlite:///${join(directory, 'demo.sqlite')}`,
      LIGHTCONE_LISTEN: listen,
      LIGHTCONE_DRAIN_TIMEOUT: '1',
      ...env,
    },
    flags: {},
    cwd: directory,
  });
  const runtime = { logger: createLogger('silent'), clock: systemClock, random: Math.random };
  return Worker.create({ config, serverName: 'main', demo, supervised: false, runtime });
}

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lightcone-browser-'));
  worker = await createWorker('127.0.0.1:0');
  await worker.start();
  context = await browser.newContext();
  page = await context.newPage();
  complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('net::ERR')) complaints.push(message.text());
  });
});
afterEach(async () => {
  await context.close();
  await worker.stop();
  rmSync(directory, { recursive: true });
});

const pane = (number: number) => page.locator('.pane').nth(number);
const state = (number: number) => pane(number).locator('.state-text');
const until = (locator: ReturnType<Page['locator']>, text: string) =>
  locator.getByText(text).first().waitFor({ timeout: 10_000 });
const rename = async (number: number, name: string): Promise<void> => {
  await pane(number).locator('.name').fill(name);
  await pane(number).getByRole('button', { name: 'Rename' }).click();
};

describe('the demo page', () => {
  test('shows a change on both devices of its owner, with the time it took, and to nobody else', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    for (const number of [0, 1, 2]) await until(pane(number), 'connected');
    await pane(0).locator('.name').waitFor();
    expect(await pane(2).locator('.log').getAttribute('data-empty')).toMatch(
      /^Bob is told what concerns Bob/,
    );
    await rename(0, 'seen on both');
    for (const number of [0, 1]) {
      await until(pane(number).locator('.log'), 'history_update');
      await expect.poll(() => pane(number).locator('.name').inputValue()).toBe('seen on both');
      expect(await pane(number).locator('.latency').textContent()).toMatch(
        /^Shown \d+ ms after the click\.$/,
      );
    }
    // Bob is told of his own change after all this; nothing of Alice's came before it.
    await rename(2, 'of bob');
    await until(pane(2).locator('.log'), 'history_update');
    expect(await pane(2).locator('.log p').count()).toBe(1);
    expect(complaints).toEqual([]);
  });

  test('draws the way of a change, with the time that each hop took', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    for (const number of [0, 1]) await until(pane(number), 'connected');
    await pane(0).locator('.name').waitFor();
    const begun = performance.now();
    await rename(0, 'on its way');
    await until(page.locator('#path-said'), 'ms from the click to the tab');
    const shown = performance.now() - begun;
    const hops = await page.locator('#path b').allTextContents();
    expect(hops).toHaveLength(5);
    let sum = 0;
    for (const hop of hops) {
      expect(hop).toMatch(/^\d+\.\d ms$/);
      sum += Number.parseFloat(hop);
    }
    const total = Number.parseFloat((await page.locator('#path-said').textContent())!);
    // Each is rounded to a tenth.
    expect(Math.abs(sum - total)).toBeLessThan(0.5);
    expect(total).toBeGreaterThan(0);
    expect(total).toBeLessThan(shown);
    expect(complaints).toEqual([]);
  });

  test('loads less than 60 kB in all', async () => {
    const loaded = new Map<string, number>();
    page.on('response', async (response) => {
      const { pathname } = new URL(response.url());
      if (!pathname.includes('/api/')) loaded.set(pathname, (await response.body().catch(() => '')).length);
    });
    await page.goto(`${worker.address}${PREFIX}/`);
    for (const number of [0, 1, 2]) await until(pane(number), 'connected');
    // The browser loads it for all tabs: it is of no page.
    const script = `${PREFIX}/assets/client/worker.js`;
    loaded.set(script, (await (await fetch(worker.address + script)).arrayBuffer()).byteLength);
    expect([...loaded.keys()]).toEqual(
      expect.arrayContaining([`${PREFIX}/`, `${PREFIX}/assets/web/path.js`]),
    );
    const bytes = [...loaded.values()].reduce((sum, length) => sum + length, 0);
    console.info(`demo: ${bytes} bytes in ${loaded.size} files`);
    expect(Math.min(...loaded.values())).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(60_000);
  });

  test('a device whose line was cut is told what happened meanwhile when it comes back', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    for (const number of [0, 1]) await until(pane(number), 'connected');
    await pane(1).getByRole('button', { name: 'Cut the line' }).click();
    await until(pane(1), 'line cut');
    await rename(0, 'while away');
    await until(pane(0).locator('.log'), 'history_update');
    expect(await pane(1).locator('.log p').count()).toBe(0);
    await pane(1).getByRole('button', { name: 'Come back' }).click();
    await until(pane(1).locator('.log'), 'history_update');
    await expect.poll(() => pane(1).locator('.name').inputValue()).toBe('while away');
  });

  test('shows what is in a history on both devices, also what was added while one was away', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    for (const number of [0, 1]) await until(pane(number), 'connected');
    const items = (number: number) => pane(number).locator('.items').first().textContent();
    const count = async (number: number) =>
      Number(/^(\d+) datasets/.exec((await items(number)) ?? '')?.[1] ?? 0);
    await expect.poll(() => items(1)).not.toBe('');
    const before = await count(0);
    const add = () => pane(0).getByRole('button', { name: 'Add a dataset' }).first().click();
    await add();
    for (const number of [0, 1]) await expect.poll(() => count(number)).toBe(before + 1);
    await pane(1).getByRole('button', { name: 'Cut the line' }).click();
    await until(pane(1), 'line cut');
    await add();
    await expect.poll(() => count(0)).toBe(before + 2);
    expect(await count(1)).toBe(before + 1);
    await pane(1).getByRole('button', { name: 'Come back' }).click();
    await expect.poll(() => count(1)).toBe(before + 2);
    expect(await items(1)).toBe(await items(0));
  });

  test('sends a broadcast to everybody, and refuses a blank name', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    for (const number of [0, 1, 2]) await until(pane(number), 'connected');
    await page.getByRole('button', { name: 'Send a broadcast' }).click();
    for (const number of [0, 1, 2]) await until(pane(number).locator('.log'), 'broadcast_update');
    await rename(0, '   ');
    expect(
      await pane(0)
        .locator('.name')
        .evaluate((input: { validity: { valid: boolean } }) => input.validity.valid),
    ).toBe(false);
  });

  test('seven tabs of it are all live', async () => {
    const tabs = [page, ...(await Promise.all(Array.from({ length: 6 }, () => context.newPage())))];
    for (const tab of tabs) await tab.goto(`${worker.address}${PREFIX}/`);
    for (const tab of tabs) {
      await expect
        .poll(() => tab.locator('.state-text').allTextContents(), { timeout: 20_000 })
        .toEqual(['connected', 'connected', 'connected']);
      await tab.locator('.name').first().waitFor();
    }
  });

  test('comes back by itself after a restart of the server, with what happened in between', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    await until(pane(0), 'connected');
    await rename(0, 'before');
    await until(pane(0).locator('.log'), 'history_update');
    const { host } = new URL(worker.address);
    await worker.stop();
    await expect.poll(() => state(0).textContent()).not.toBe('connected');

    worker = await createWorker(host);
    await worker.start();
    await fetch(`${worker.address}${PREFIX}/api/histories?key=demo-alice`)
      .then((response) => response.json() as Promise<{ id: string }[]>)
      .then(([history]) =>
        fetch(`${worker.address}${PREFIX}/api/histories/${history!.id}?key=demo-alice`, {
          method: 'PUT',
          headers: { 'content-type': 'application/json' },
          body: '{"name":"made while away"}',
        }),
      );
    await expect
      .poll(() => pane(0).locator('.name').inputValue(), { timeout: 20_000 })
      .toBe('made while away');
    await until(pane(0), 'connected');
  });
});

describe('the page of an installation without demo data', () => {
  test('says what this is, whether it is well, and how to connect', async () => {
    await worker.stop();
    worker = await createWorker('127.0.0.1:0', false);
    await worker.start();
    await page.goto(`${worker.address}${PREFIX}/`);
    await until(page.locator('#well'), 'It takes new streams.');
    await until(page.locator('#version'), 'Lightcone 0.');
    expect(await page.locator('#curl').textContent()).toContain(
      `${worker.address}${PREFIX}/api/events/stream`,
    );
    expect(complaints).toEqual([]);
  });

  test('says that nobody is sent anything, where that is so', async () => {
    await worker.stop();
    worker = await createWorker('127.0.0.1:0', false, {
      GALAXY_CONFIG_OVERRIDE_ENABLE_SSE_UPDATES: 'false',
    });
    await worker.start();
    await page.goto(`${worker.address}${PREFIX}/`);
    await until(page.locator('#well'), 'Real-time updates are off on this server');
  });

  test('says that a proxy holds streams up', async () => {
    await worker.stop();
    worker = await createWorker('127.0.0.1:0', false);
    await worker.start();
    await page.route('**/api/events/stream', () => {});
    await page.goto(`${worker.address}${PREFIX}/`);
    await until(page.locator('#well'), 'a proxy in between collects what is sent');
  });
});

describe('the docs', () => {
  test('are a click away, under a prefix too, and work without a script', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    await page.getByRole('link', { name: 'Docs' }).click();
    await page.getByRole('link', { name: 'Settings' }).click();
    await until(page.locator('tbody'), 'amqp_internal_connection');
    await page.goto(`${worker.address}${PREFIX}/docs/operating/`);
    await page.getByRole('navigation', { name: 'On this page' }).getByRole('link').last().click();
    expect(page.url()).toMatch(/\/docs\/operating#[\w-]+$/);
    const pictures = page.locator('img');
    for (const picture of await pictures.all())
      await expect
        .poll(() => picture.evaluate((it: { naturalWidth: number }) => it.naturalWidth))
        .toBeGreaterThan(0);
    expect(await pictures.count()).toBeGreaterThan(1);
    expect(complaints).toEqual([]);
    for (const none of ['none', '..%2fpackage', 'images/none.svg', 'images/..%2f..%2fpackage.json'])
      expect((await fetch(`${worker.address}${PREFIX}/docs/${none}`)).status).toBe(404);
  });
});

describe('the API page', () => {
  const open = async (route: string): Promise<string> => {
    await page.locator(`#${route} > summary`).click();
    return (await page.locator(`#${route} > pre`).first().textContent())!;
  };
  /** What a shell prints that the line was pasted into. */
  const pasted = async (line: string): Promise<string> => {
    locate('curl');
    const command = line
      .replace('YOUR-KEY', 'demo-alice')
      .replace(/^curl/, 'curl -s --max-time 2 -w "\\n%{http_code}"');
    const run = promisify(execFile)('bash', ['-c', `${command} || [ $? = 28 ]`]);
    return (await run).stdout;
  };

  test('shows every route of the document, with lines that work when they are pasted', async () => {
    const { paths } = (await (await fetch(`${worker.address}${PREFIX}/api/openapi.json`)).json()) as {
      paths: Record<string, object>;
    };
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    await page.goto(`${worker.address}${PREFIX}/api/docs`);
    await until(page.locator('#found'), `${routes.length} of ${routes.length} routes`);
    const shown = await page.locator('#routes summary').all();
    const texts = await Promise.all(
      shown.map(async (one) => (await one.locator('b, code').allTextContents()).slice(0, 2).join(' ')),
    );
    expect(texts.sort()).toEqual(routes.sort());
    expect(await pasted(await open('getEventsStream'))).toContain('event: ready');
    expect(await pasted(await open('postHistories'))).toMatch(/"name":"RNA-seq".*\n200$/s);
    expect(await pasted(await open('getWellz'))).toMatch(/\n200$/);
    expect(await pasted(await open('getNotificationsStatus'))).toMatch(/\n(200|403)$/);
    expect(complaints).toEqual([]);
  });

  test('is filtered, and linked to, route by route', async () => {
    await page.goto(`${worker.address}${PREFIX}/api/docs/#/stream/getEventsStream`);
    await page.locator('#getEventsStream[open] dd').last().waitFor();
    await page.locator('#filter input').fill('DELETE contents');
    await until(page.locator('#found'), '1 of');
    expect(await page.locator('#about a').first().getAttribute('href')).toBe('docs/errors');
    const left = page.locator('#routes details:not([hidden]) code').first();
    expect(await left.textContent()).toBe('/api/histories/{id}/contents/{type}/{content}');
    await page.evaluate("location.hash = 'schema-Dataset'");
    await page.locator('#schema-Dataset[open]').getByText('history_content_type').first().waitFor();
    expect(complaints).toEqual([]);
  });
});

describe('the status page', () => {
  const signIn = async (key: string): Promise<void> => {
    await page.locator('#login input').fill(key);
    await page.getByRole('button', { name: 'Show the status' }).click();
  };

  test('tells an administrator where an update would stop, and nobody else', async () => {
    await page.goto(`${worker.address}${PREFIX}/status/`);
    await signIn('demo-alice');
    await until(page.locator('#problem'), 'only administrators');
    await signIn('demo-admin');
    await until(page.locator('#findings'), 'main has been the monitor');
    await until(page.locator('#findings'), 'has arrived at the worker');
    await until(page.locator('#flow'), 'changes seen');
    expect(await page.locator('#findings .bad').allTextContents()).toEqual([]);
    expect(await page.locator('#processes tr').count()).toBe(1);
    expect(complaints.filter((text) => !text.includes('403'))).toEqual([]);
  });

  test('lists open streams, and closes one, which its browser opens again', async () => {
    await page.goto(`${worker.address}${PREFIX}/`);
    for (const number of [0, 1, 2]) await until(pane(number), 'connected');
    const status = await context.newPage();
    await status.goto(`${worker.address}${PREFIX}/status/`);
    await status.locator('#login input').fill('demo-admin');
    await status.getByRole('button', { name: 'Show the status' }).click();
    await status.locator('#streams tr').nth(1).waitFor();
    await status.locator('#filters input[name=user]').fill('bob@example.org');
    await status.getByRole('button', { name: 'Show', exact: true }).click();
    await expect.poll(() => status.locator('#streams tr').count()).toBe(1);
    const before = worker.manager.registry.all.map(({ id }) => id);
    await status.getByRole('button', { name: 'Close the stream of bob@example.org' }).click();
    await expect
      .poll(
        () => worker.manager.registry.all.map(({ id }) => id).filter((id) => !before.includes(id)).length,
        {
          timeout: 20_000,
        },
      )
      .toBe(1);
    await until(pane(2), 'connected');
  });

  test('says what a user was told, and which streams were refused', async () => {
    await fetch(`${worker.address}${PREFIX}/api/events/stream?key=wrong`);
    await page.goto(`${worker.address}${PREFIX}/`);
    await until(pane(0), 'connected');
    await rename(0, 'told');
    await until(pane(0).locator('.log'), 'history_update');
    await page.goto(`${worker.address}${PREFIX}/status/`);
    await signIn('demo-admin');
    await until(page.locator('#refused'), 'credentials invalid');
    await page.locator('#told-form input').fill('alice@example.org');
    await page.getByRole('button', { name: 'Look' }).click();
    await until(page.locator('#told'), 'history_update');
  });

  test('claims nothing of what it does not hear any more', async () => {
    await page.goto(`${worker.address}${PREFIX}/status/`);
    await signIn('demo-admin');
    await until(page.locator('#findings'), 'main has been the monitor');
    await worker.stop();
    await until(page.locator('#findings'), 'Nothing is known');
    expect(await page.locator('#findings .good').count()).toBe(0);
  });
});
