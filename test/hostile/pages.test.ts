/** Names that others give, in a real browser: they are shown as they are, run nothing, and a line to paste holds none of them. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { launchChromium } from '../support/chromium.js';
import { DEMO, Installation } from '../support/installation.js';
import { EVERYTHING, restOf } from '../support/rest.js';

const RUNS = "document.title='owned'";
const MARKUP = `"'><img src=x onerror="${RUNS}"><script>${RUNS}</script><svg onload="${RUNS}">`;
const SHELL = '`touch owned` $(touch owned) "; touch owned; \\" !!';

let browser: Browser;
let page: Page;
let here: Installation;
let url: string;
let complaints: string[];
beforeAll(async () => {
  browser = await launchChromium();
  here = Installation.embedded();
  ({ url } = await here.worker(EVERYTHING));
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  await here.sql(
    `UPDATE galaxy_user SET email = ${quoted(`${MARKUP}@example.org`)}, username = ${quoted(MARKUP)} WHERE id = ${DEMO.users.alice}`,
  );
});
afterAll(async () => {
  await browser.close();
  await here.close();
});
beforeEach(async () => {
  page = await browser.newPage();
  complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
});

afterEach(() => page.close());

const rename = (name: string) =>
  restOf(url)('PUT', `/api/histories/${here.encode(DEMO.histories.alice)}`, { as: 'alice', body: { name } });

async function ranNothing(): Promise<void> {
  expect(await page.title()).not.toContain('owned');
  expect(await page.locator('img[src=x], svg[onload], a[href^="javascript"]').count()).toBe(0);
  expect(complaints).toEqual([]);
}

it('on the demo page: histories, datasets and broadcasts', async () => {
  await rename(MARKUP);
  const path = `/api/histories/${here.encode(DEMO.histories.alice)}/contents`;
  await restOf(url)('POST', path, { as: 'alice', body: { name: MARKUP } });
  await page.goto(url);
  await page.getByText('connected', { exact: true }).first().waitFor();
  await expect.poll(() => page.locator('.pane .name').first().inputValue()).toBe(MARKUP);
  await page.locator('.items').getByText('onerror').first().waitFor();
  const content = {
    category: 'broadcast',
    subject: MARKUP,
    message: MARKUP,
    action_links: [{ action_name: MARKUP, link: 'https://example.org/?%22%3E%3Cscript%3E' }],
  };
  const body = { source: 'demo', variant: 'info', category: 'broadcast', content };
  expect((await restOf(url)('POST', '/api/notifications/broadcast', { as: 'admin', body })).status).toBe(200);
  await page.locator('.log').getByText('broadcast_update').first().waitFor();
  await ranNothing();
});

it.each([MARKUP, SHELL])(
  'on the demo page, a line to paste holds nothing of the name %j that a shell or SQL runs',
  async (name) => {
    expect((await rename(name)).status).toBe(200);
    await page.goto(url);
    await expect.poll(() => page.locator('#sql-rename').textContent()).toContain('UPDATE history');
    const line = (await page.locator('#sql-rename').textContent())!;
    const [, sql] = /^sqlite3 \S+ "([^"]*)"$/.exec(line)!;
    expect(sql).not.toMatch(/[`$\\!;]/);
    await here.sql(sql!);
    const [row] = await here.sql<{ name: string }>(
      `SELECT name FROM history WHERE id = ${DEMO.histories.alice}`,
    );
    expect(row?.name).toBe('from SQL');
  },
);

it('on the status page: users, filters and what is told of them', async () => {
  const stream = await here.stream(url, 'key=demo-alice');
  await here.change(DEMO.histories.alice);
  await stream.waitForHistory(here.encode(DEMO.histories.alice));
  await page.goto(`${url}/status#${encodeURIComponent(MARKUP)}`);
  await page.locator('#login input').fill('demo-admin');
  await page.getByRole('button', { name: 'Show the status' }).click();
  await page.locator('#streams').getByText('onerror').first().waitFor();
  await page.locator('#told-form input[name=user]').fill(here.encode(DEMO.users.alice));
  await page.locator('#told-form button').click();
  await page.locator('#told-said').getByText('onerror').waitFor();
  await page.locator('#filters input[name=user]').fill(MARKUP);
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.locator('#streams-problem').getByText('onerror').waitFor();
  complaints = complaints.filter((text) => !/status of 4\d\d/.test(text));
  await ranNothing();
});

it('on the API page: what stands behind the # of its address', async () => {
  for (const hash of [
    encodeURIComponent(MARKUP),
    `/stream/${encodeURIComponent(MARKUP)}`,
    '%E0%A4%A',
    MARKUP,
  ]) {
    await page.goto('about:blank');
    await page.goto(`${url}/api/docs#${hash}`);
    await page.locator('#routes summary').first().waitFor();
  }
  await page.locator('#filter input').fill(MARKUP);
  await page.locator('#found').getByText(/^0 of/).waitFor();
  await ranNothing();
});
