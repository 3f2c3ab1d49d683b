/** The client in tabs of Chromium that do what only Chromium can be told to do; the rest is in basic-suite.ts. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchChromium } from '../support/chromium.js';
import { DEMO, Installation } from '../support/installation.js';

let browser: Browser;
let here: Installation;
let url: string;
let context: BrowserContext;

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());
beforeEach(async () => {
  here = Installation.embedded();
  ({ url } = await here.worker({ galaxy: { enable_notification_system: true } }));
  context = await browser.newContext();
});
afterEach(async () => {
  await context.close();
  await here.close();
});

type Share = 'worker' | 'lock' | 'none';
const { alice } = DEMO.histories;

/** A tab with a client that notes what it is told. */
async function openTab(share: Share, options: Record<string, unknown> = {}): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}/api/version`);
  // A text: the test's own compiler would rewrite the import.
  await page.evaluate(`(async () => {
    const { LightconeClient } = await import('/assets/client/lightcone.js');
    const noted = { states: [], names: [] };
    const client = new LightconeClient(${JSON.stringify({ apiKey: 'demo-alice', share, ...options })});
    client.onState((state) => noted.states.push(state));
    client.on('broadcast_update', ({ content }) => noted.names.push(content.subject));
    client.on('notification_status', ({ broadcasts }) =>
      noted.names.push(...broadcasts.map(({ content }) => content.subject)),
    );
    client.on('history_update', ({ history_ids }) => noted.names.push(...history_ids));
    client.open();
    Object.assign(globalThis, { noted, client });
  })()`);
  return page;
}
const stateOf = (page: Page) => page.evaluate<string>('client.state');
const told = (page: Page) => page.evaluate<string[]>('noted.names');
const live = (page: Page) => expect.poll(() => stateOf(page), { timeout: 20_000 }).toBe('live');

async function openStreams(): Promise<number> {
  const answer = await fetch(`${url}/api/status`, { headers: { 'x-api-key': 'demo-admin' } });
  return ((await answer.json()) as { connections: { open: number } }).connections.open;
}

let broadcasts = 0;
/** A broadcast has an identity of its own, so that one that is told twice shows. */
async function broadcast(): Promise<string> {
  broadcasts += 1;
  const subject = `broadcast ${broadcasts}`;
  const answer = await fetch(`${url}/api/notifications/broadcast`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': 'demo-admin' },
    body: JSON.stringify({
      source: 'test',
      variant: 'info',
      category: 'broadcast',
      content: { category: 'broadcast', subject, message: 'm' },
    }),
  });
  expect(answer.status).toBe(200);
  return subject;
}

describe.each<Share>(['worker', 'lock'])('tabs that share by %s', (share) => {
  it('twelve that open at once are all live, over one stream', async () => {
    const tabs = await Promise.all(Array.from({ length: 12 }, () => openTab(share)));
    for (const tab of tabs) await live(tab);
    await expect.poll(openStreams).toBe(1);
    const subject = await broadcast();
    for (const tab of tabs) await expect.poll(() => told(tab)).toContain(subject);
  });

  it('of different people share nothing', async () => {
    const [ofAlice, ofBob] = [await openTab(share), await openTab(share, { apiKey: 'demo-bob' })];
    await live(ofAlice);
    await live(ofBob);
    expect(await openStreams()).toBe(2);
    await here.change(alice);
    await expect.poll(() => told(ofAlice)).toContain(here.encode(alice));
    expect(await told(ofBob)).not.toContain(here.encode(alice));
  });
});

it('a page that has the client from the server can ask whether a write is out, and hold the contents of a history', async () => {
  const tab = await openTab('worker');
  await live(tab);
  const id = here.encode(alice);
  const included = await tab.evaluate<boolean>(`(async () => {
    const headers = { 'content-type': 'application/json', 'x-api-key': 'demo-alice' };
    const answer = await fetch('/api/histories/${id}', { method: 'PUT', headers, body: '{"name":"written"}' });
    return client.includes(answer.headers.get('x-write-mark'));
  })()`);
  expect(included).toBe(true);
  expect(await told(tab)).toContain(id);
  const isUpToDate = `client.history('${id}', () => {}).then(async (view) => {
    await view.includes('');
    return view.isUpToDate;
  })`;
  expect(await tab.evaluate<boolean>(isUpToDate)).toBe(true);
});

it('a tab whose debugger stops it is told the rest when it goes on, and the others meanwhile', async () => {
  const [leader, other] = [await openTab('lock'), await openTab('lock')];
  await live(leader);
  await live(other);
  const session = await context.newCDPSession(leader);
  await session.send('Debugger.enable');
  const paused = new Promise((resolve) => session.once('Debugger.paused', resolve));
  await session.send('Debugger.pause');
  // It stands still at the next thing that it does.
  const next = leader.evaluate('0');
  await paused;
  const subject = await broadcast();
  await expect.poll(() => told(other), { timeout: 40_000 }).toContain(subject);
  await session.send('Debugger.resume');
  await next;
  await session.send('Debugger.disable');
  await expect.poll(() => told(leader), { timeout: 20_000 }).toContain(subject);
  await expect.poll(openStreams, { timeout: 20_000 }).toBe(1);
  const later = await broadcast();
  for (const tab of [leader, other]) {
    await expect.poll(() => told(tab), { timeout: 20_000 }).toContain(later);
    expect((await told(tab)).filter((name) => name === later)).toHaveLength(1);
  }
}, 120_000);

it('a tab that the browser freezes gives way at once, with no second stream, and catches up when it goes on', async () => {
  const [leader, other] = [await openTab('lock'), await openTab('lock')];
  await live(leader);
  await live(other);
  const session = await context.newCDPSession(leader);
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  await expect.poll(openStreams, { interval: 10 }).toBe(1);
  const subject = await broadcast();
  await expect.poll(() => told(other), { timeout: 8_000 }).toContain(subject);
  await live(other);
  expect(await openStreams()).toBe(1);
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  await live(leader);
  await expect.poll(() => told(leader), { timeout: 10_000 }).toContain(subject);
  expect(await openStreams()).toBe(1);
}, 60_000);

it('a worker that the browser ends is begun anew, one for all, also for a tab that comes later', async () => {
  const tabs = [await openTab('worker'), await openTab('worker')];
  for (const tab of tabs) await live(tab);
  const session = await browser.newBrowserCDPSession();
  const { targetInfos } = await session.send('Target.getTargets');
  const { targetId } = targetInfos.find(
    ({ type, url: script }) => type === 'shared_worker' && script.startsWith(url),
  )!;
  const { sessionId } = await session.send('Target.attachToTarget', { targetId });
  const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: 'close()' } });
  await session.send('Target.sendMessageToTarget', { sessionId, message });
  await expect.poll(openStreams).toBe(0);
  await session.detach();
  const subject = await broadcast();
  for (const tab of tabs) await expect.poll(() => told(tab), { timeout: 40_000 }).toContain(subject);
  const late = await openTab('worker');
  await live(late);
  expect(await openStreams()).toBe(1);
  const next = await broadcast();
  for (const tab of [...tabs, late]) {
    await expect.poll(() => told(tab)).toContain(next);
    expect((await told(tab)).filter((name) => name === next)).toHaveLength(1);
  }
}, 90_000);

it('where nothing can be shared each tab has a stream of its own', async () => {
  const tabs = [await openTab('none'), await openTab('none')];
  for (const tab of tabs) await live(tab);
  expect(await openStreams()).toBe(2);
});
