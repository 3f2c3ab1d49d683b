/** What the status page shows while the database is away. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchChromium } from '../support/chromium.js';
import { Installation, type RunningWorker } from '../support/installation.js';
import { type Postgres, startPostgres } from '../support/postgres.js';

let postgres: Postgres;
let here: Installation;
let worker: RunningWorker;
let browser: Awaited<ReturnType<typeof launchChromium>>;
beforeAll(async () => {
  postgres = await startPostgres();
  here = await Installation.withoutBroker(postgres);
  [worker, browser] = await Promise.all([here.worker(), launchChromium()]);
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await worker?.stop();
  await postgres?.stop();
});

it('says what is wrong and where changes stop, and says nothing good meanwhile', async () => {
  const page = await browser.newPage();
  await page.goto(`${worker.url}/status/`);
  await page.locator('#login input').fill('demo-admin');
  await page.getByRole('button', { name: 'Show the status' }).click();
  const findings = page.locator('#findings');
  await findings.locator('.good', { hasText: 'has been the monitor for' }).waitFor();
  await postgres.stop();
  await findings.getByText('is unavailable: connect ECONNREFUSED').first().waitFor({ timeout: 20_000 });
  await findings.getByText('No process is the monitor').waitFor({ timeout: 20_000 });
  expect(await findings.locator('.good').allInnerTexts()).toEqual([]);
});
