/** What becomes of the others when the tab that opened the stream dies or stands still. */
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChromiumEngine, type ChromiumTab, chromiumEngine } from '../support/chromium.js';
import { ClientTabs, type Share } from '../support/client-tabs.js';

/** A tab that dies takes its lock along before its socket: the server sees two for that moment. */
const HANDOVER_MS = 1_000;

let engine: ChromiumEngine;
let all: ClientTabs;
beforeAll(async () => {
  engine = await chromiumEngine();
});
afterAll(() => engine.close());
beforeEach(async () => {
  all = await ClientTabs.start();
});
afterEach(() => all.close());

/** The first of them leads: where tabs elect, it has the lock; where they share a worker, it began it. */
async function openTabs(share: Share): Promise<{ leader: ChromiumTab; others: ChromiumTab[] }> {
  const leader = await all.openTab(engine, share);
  await all.live(leader);
  return { leader, others: await all.openTabs(engine, share, 2) };
}

/** Every one of them is live over one stream, and none was ever told to stop. */
async function expectGoOn(tabs: readonly ChromiumTab[]): Promise<void> {
  for (const tab of tabs) await all.live(tab);
  await expect.poll(() => all.proxy.open, { timeout: 10_000 }).toBe(1);
  await all.expectOnce(tabs, [await all.broadcast()]);
  for (const tab of tabs) expect(await tab.evaluate('noted.states.slice(1)')).not.toContain('stopped');
}

/** Each stream began where the one before it ended. */
function expectResumed(): void {
  const { streams } = all.proxy;
  for (const [index, { lastEventId }] of streams.entries())
    expect(lastEventId).toBe(streams[index - 1]?.sentId);
  expect(all.proxy.longestOverlapMs).toBeLessThan(HANDOVER_MS);
}

async function crash(page: Page): Promise<void> {
  const session = await engine.context.newCDPSession(page);
  const crashed = page.waitForEvent('crash');
  session.send('Page.crash').catch(() => {});
  await crashed;
}

describe.each<Share>(['worker', 'lock', 'page'])('tabs that share by %s', (share) => {
  it('go on when the process of the tab that leads dies', async () => {
    const { leader, others } = await openTabs(share);
    const before = await all.broadcast();
    await all.expectOnce([leader, ...others], [before]);
    await crash(leader.page);
    const meanwhile = await all.broadcast();
    await all.expectOnce(others, [before, meanwhile], 40_000);
    await expectGoOn(others);
    expectResumed();
  }, 90_000);

  it('are told everything once while the tab that leads stands still for 20 s, and so is that one afterwards', async () => {
    const { leader, others } = await openTabs(share);
    const stillUntil = performance.now() + 20_000;
    await leader.evaluate(
      'void setTimeout(() => { for (const end = Date.now() + 20_000; Date.now() < end; ); }, 0)',
    );
    const subjects = [await all.broadcast()];
    await all.expectOnce(others, subjects, 19_000);
    expect(performance.now()).toBeLessThan(stillUntil);
    subjects.push(await all.broadcast());
    await all.expectOnce(others, subjects);
    await all.expectOnce([leader, ...others], subjects);
    await expectGoOn([leader, ...others]);
    if (share !== 'page') return expect(all.proxy.streams).toHaveLength(1);
    // Without a worker the leader runs in its tab: until it moves again, its stream stands beside that of the next one.
    const [first, second, ...more] = all.proxy.streams;
    expect([first!.open, second!.open, more]).toEqual([false, true, []]);
    expect(second!.lastEventId).toBeDefined();
  }, 90_000);

  it('hear nothing of an end when the tab that leads is closed', async () => {
    const { leader, others } = await openTabs(share);
    await leader.page.close();
    await all.expectOnce(others, [await all.broadcast()], 40_000);
    await expectGoOn(others);
    expectResumed();
  }, 90_000);
});
