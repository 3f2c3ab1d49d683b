/** axe-core over every page, in both colour schemes, on a desktop and on a phone; and nothing on the console. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Worker } from '../../src/app/processes/worker.js';
import { loadConfig } from '../../src/config/load.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { axeViolations } from '../support/axe.js';
import { launchChromium } from '../support/chromium.js';

let browser: Browser;
let directory: string;
/** One with the demo at `/`, one with the page of an installation. */
const workers: Worker[] = [];

beforeAll(async () => {
  browser = await launchChromium();
  directory = mkdtempSync(join(tmpdir(), 'lightcone-axe-'));
  for (const demo of [true, false]) {
    const config = loadConfig({
      env: {
        GALAXY_CONFIG_OVERRIDE_DATABASE_CONNECTION: `sqlite:///${join(directory, `${demo}.sqlite`)}`,
        LIGHTCONE_LISTEN: '127.0.0.1:0',
        LIGHTCONE_DRAIN_TIMEOUT: '1',
      },
      flags: {},
      cwd: directory,
    });
    const runtime = { logger: createLogger('silent'), clock: systemClock, random: Math.random };
    const worker = await Worker.create({ config, serverName: 'main', demo, supervised: false, runtime });
    workers.push(worker);
    await worker.start();
  }
});
afterAll(async () => {
  await browser.close();
  for (const worker of workers) await worker.stop();
  rmSync(directory, { recursive: true });
});

const signIn = async (page: Page): Promise<void> => {
  await page.locator('#login input').fill('demo-admin');
  await page.getByRole('button', { name: 'Show the status' }).click();
  await page.locator('#findings li').first().waitFor();
};
const openAll = async (page: Page): Promise<void> => {
  await page.locator('#routes details').first().waitFor();
  await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true");
  await page.locator('details[open] h3').last().waitFor();
};
const PAGES: [name: string, path: string, ready: (page: Page) => Promise<unknown>, demo?: boolean][] = [
  ['the demo', '/', (page) => page.locator('.pane .name').first().waitFor()],
  ['the landing page', '/', (page) => page.getByText('takes new streams').waitFor(), false],
  ['the login of the status page', '/status', (page) => page.locator('#login').waitFor()],
  ['the status page', '/status', signIn],
  ['the API page, everything open', '/api/docs', openAll],
  ...['', '/architecture', '/configuration', '/performance', '/stream'].map(
    (page): (typeof PAGES)[number] => [`/docs${page}`, `/docs${page}`, (tab) => tab.locator('h2').waitFor()],
  ),
];

describe.each(['light', 'dark'] as const)('in the %s scheme', (colorScheme) => {
  test.each(PAGES)('%s can be used by everybody', async (_, path, ready, demo = true) => {
    for (const width of [1280, 390]) {
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } });
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
      await page.goto(workers[demo ? 0 : 1]!.address + path);
      await ready(page);
      expect(await axeViolations(page)).toEqual([]);
      const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
      expect(overflow, `what a screen of ${width} px cuts off`).toBeLessThanOrEqual(0);
      expect(complaints).toEqual([]);
      await context.close();
    }
  });
});
