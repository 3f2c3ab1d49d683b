/** What a browser does beside closing tabs: it loses its network, keeps pages to go back to, runs two versions, changes its user. */
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChromiumEngine, type ChromiumTab, chromiumEngine } from '../support/chromium.js';
import { ClientTabs, type Share } from '../support/client-tabs.js';
import { DEMO } from '../support/installation.js';
import { otherClient } from '../support/other-client.js';

let engine: ChromiumEngine;
let all: ClientTabs;
beforeAll(async () => {
  // Playwright switches the back/forward cache off.
  engine = await chromiumEngine({ ignoreDefaultArgs: ['--disable-back-forward-cache'] });
});
afterAll(() => engine.close());
beforeEach(async () => {
  all = await ClientTabs.start();
});
afterEach(async () => {
  await all.close();
  await engine.context.clearCookies();
  await engine.context.setOffline(false);
});

/** Chromium's own switch cuts no open stream, and leaves shared workers alone: the rest is cut at the other end. @returns brings it back */
async function networkOff(): Promise<() => Promise<void>> {
  await engine.context.setOffline(true);
  await all.proxy.stop();
  return async () => {
    await all.proxy.start();
    await engine.context.setOffline(false);
  };
}

async function expectState(tabs: readonly ChromiumTab[], state: string, timeout = 20_000): Promise<void> {
  for (const tab of tabs) await expect.poll(() => all.state(tab), { timeout }).toBe(state);
}

describe.each<Share>(['worker', 'lock'])('tabs that share by %s', (share) => {
  it('go on at once when the network is back, over one stream, from where they stopped', async () => {
    const tabs = await all.openTabs(engine, share, 3);
    const networkOn = await networkOff();
    await expectState(tabs, 'connecting');
    const meanwhile = await all.broadcast();
    // Long enough for waits of several seconds between attempts.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(all.proxy.open).toBe(0);
    const from = performance.now();
    await networkOn();
    await expectState(tabs, 'live');
    expect(performance.now() - from).toBeLessThan(2_000);
    await all.expectOnce(tabs, [meanwhile, await all.broadcast()]);
    const [first, second, ...more] = all.proxy.streams;
    expect([second!.lastEventId, more]).toEqual([first!.sentId, []]);
    expect(all.proxy.longestOverlapMs).toBe(0);
  }, 60_000);

  it('that slept through more than is remembered are told of it over one more stream, and no others', async () => {
    // The one that came first leads.
    const [other] = (await all.openTabs(engine, share, 1)) as [ChromiumTab];
    const [sleeper] = (await all.openTabs(engine, share, 1)) as [ChromiumTab];
    await sleeper.evaluate('client.pause()');
    let last = '';
    for (let told = 0; told < 205; told += 1) last = await all.broadcast();
    await all.expectOnce([other], [last]);
    await sleeper.evaluate('client.resume()');
    await all.expectOnce([sleeper], [last]);
    await all.live(sleeper);
    await all.expectOnce([sleeper, other], [await all.broadcast(), await all.broadcast()]);
    expect(all.proxy.streams.length).toBeLessThanOrEqual(2);
    expect(all.proxy.open).toBe(1);
  });

  it('of two versions of the client do not share, and each is told everything once', async () => {
    const files = await otherClient();
    const old = [...(await all.openTabs(engine, share, 1)), ...(await all.openTabs(engine, share, 1))];
    // The server is upgraded: the same addresses, other files.
    all.proxy.answer = (path: string, response: ServerResponse) => {
      const file = files[path.split('/').pop()!];
      if (!file) return false;
      response.writeHead(200, { 'content-type': 'text/javascript', 'cache-control': 'no-cache' }).end(file);
      return true;
    };
    const young = await all.openTabs(engine, share, 2);
    const subjects = [await all.broadcast(), await all.broadcast()];
    await all.expectOnce([...old, ...young], subjects);
    expect([all.proxy.streams.length, all.proxy.open]).toEqual([2, 2]);
    // The old ones go, the one that leads last: the young ones do not notice.
    for (const tab of old.reverse()) await tab.close();
    await expect.poll(() => all.proxy.open).toBe(1);
    await all.expectOnce(young, [...subjects, await all.broadcast()]);
    expect(all.proxy.streams).toHaveLength(2);
  });

  it('keep nothing in a page that is left, and that page catches up when it is shown again', async () => {
    const leader = await all.openTab(engine, share);
    await all.live(leader);
    const [other] = await all.openTabs(engine, share, 1);
    await leader.evaluate(
      `addEventListener('pageshow', ({ persisted }) => noted.states.push('persisted ' + persisted))`,
    );
    await leader.page.goto(`${all.proxy.url}/api/version`);
    const meanwhile = await all.broadcast();
    await all.expectOnce([other!], [meanwhile]);
    expect(all.proxy.open).toBe(1);
    await leader.page.evaluate('history.back()').catch(() => {});
    await expect.poll(() => leader.evaluate('noted.states').catch(() => [])).toContain('persisted true');
    await all.live(leader);
    await all.expectOnce([leader, other!], [meanwhile, await all.broadcast()], 40_000);
    expect(all.proxy.open).toBe(1);
    expect(all.proxy.longestOverlapMs).toBeLessThan(1_000);
  });

  it('are told of the histories that any of them watches, and the server is asked once for each', async () => {
    const { bob } = DEMO.histories;
    await all.here.sql(`UPDATE history SET published = true WHERE id = ${bob}`);
    const id = all.here.encode(bob);
    const [one, two] = (await all.openTabs(engine, share, 2)) as [ChromiumTab, ChromiumTab];
    for (const tab of [one, two])
      await tab.evaluate(`void (globalThis.endView = client.watchHistory('${id}'))`);
    const asked = () => all.proxy.asked.filter((path) => path.endsWith('/history-subscriptions')).length;
    await expect.poll(asked).toBe(1);
    await expect
      .poll(
        async () => {
          await all.here.change(bob);
          return all.told(two);
        },
        { timeout: 10_000, interval: 500 },
      )
      .toContain(id);
    // One looks away, the other still looks.
    await one.evaluate('endView()');
    const before = (await all.told(two)).length;
    await all.here.change(bob);
    await expect.poll(async () => (await all.told(two)).length).toBeGreaterThan(before);
    expect(asked()).toBe(1);
    // Nobody looks any more: what comes after it is told, this is not.
    await two.evaluate('endView()');
    await expect.poll(asked).toBe(2);
    const told = (await all.told(two)).length;
    await all.here.change(bob);
    const last = await all.broadcast();
    await all.expectOnce([one, two], [last]);
    expect((await all.told(two)).slice(told)).toEqual([last]);
    expect(all.proxy.streams).toHaveLength(1);
  });

  it('part from those of another user: after a login nothing of the one before is resumed', async () => {
    const { cookie } = await all.here.cookieOf(DEMO.anonymousSession);
    const [, before] = cookie.split('=') as [string, string];
    const cookies = (value: string) =>
      engine.context.addCookies([{ name: 'galaxysession', value, url: all.proxy.url }]);
    await cookies(before);
    const tabs = [
      await all.openTab(engine, share, { apiKey: '' }),
      await all.openTab(engine, share, { apiKey: '' }),
    ];
    await expectState(tabs, 'live');
    expect(all.proxy.streams).toHaveLength(1);
    const login = await fetch(`${all.proxy.target}/api/login`, {
      method: 'POST',
      headers: { cookie, 'content-type': 'application/json' },
      body: JSON.stringify({ login: 'alice@example.org', password: 'demo-alice' }),
    });
    expect(login.status).toBe(200);
    const [, ofAlice] = /galaxysession=([^;]+)/.exec(login.headers.get('set-cookie')!)!;
    await cookies(ofAlice!);
    await all.proxy.stop();
    await all.proxy.start();
    await expect.poll(() => all.proxy.streams.length, { timeout: 20_000 }).toBe(2);
    await expectState(tabs, 'live');
    expect(all.proxy.streams[1]!.lastEventId).toBeUndefined();
    const history = await all.change();
    for (const tab of tabs) await expect.poll(() => all.told(tab)).toContain(history);
    expect(all.proxy.open).toBe(1);
  });

  it('ask every 3, 10 and 30 s where there are no streams, one for all, and not any more once there is one', async () => {
    await all.replaceServer({ galaxy: { enable_sse_updates: false } });
    const { length } = all.proxy.asked;
    const tabs = [await all.openTab(engine, share), await all.openTab(engine, share)];
    await expectState(tabs, 'polling');
    await new Promise((resolve) => setTimeout(resolve, 13_000));
    const polled = (path: string, from: number) =>
      all.proxy.asked.slice(from).filter((asked) => asked.startsWith(path)).length;
    const counts = ['/history/current_history_json', '/api/entry_points', '/api/notifications/status'].map(
      (path) => polled(path, length),
    );
    expect(counts[0]).toBeGreaterThanOrEqual(4);
    expect(counts[0]).toBeLessThanOrEqual(6);
    expect(counts.slice(1)).toEqual([2, 1]);
    expect(all.proxy.streams).toHaveLength(0);
    await all.replaceServer();
    for (const tab of tabs) await tab.evaluate("window.dispatchEvent(new Event('online'))");
    await expectState(tabs, 'live');
    const from = all.proxy.asked.length;
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect([polled('/history/', from), polled('/api/entry_points', from), all.proxy.open]).toEqual([0, 0, 1]);
  }, 60_000);
});
