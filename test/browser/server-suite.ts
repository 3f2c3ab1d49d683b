/** What goes wrong between a browser and its server: one stream all the while, nothing missed, nothing told twice. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ClientTabs } from '../support/client-tabs.js';
import type { Engine, Tab } from '../support/engines.js';

export function serverSuite(launch: () => Promise<Engine>): void {
  let engine: Engine;
  let all: ClientTabs;
  let tabs: Tab[];
  beforeAll(async () => {
    engine = await launch();
  });
  afterAll(() => engine.close());
  beforeEach(async () => {
    all = await ClientTabs.start();
    tabs = await all.openTabs(engine, 'worker', 3);
  });
  afterEach(() => all.close());

  /** Breaks the stream; from then on every request is answered in the server's place, until the function returned is called. */
  async function insteadAnswer(
    status: number,
    headers: Record<string, string>,
    body: string,
  ): Promise<() => void> {
    all.proxy.answer = (path, response) => {
      if (!path.startsWith('/api/')) return false;
      response.writeHead(status, headers).end(body);
      return true;
    };
    await all.proxy.stop();
    await all.proxy.start();
    return () => {
      all.proxy.answer = () => false;
    };
  }

  async function expectResumed(meanwhile: string): Promise<void> {
    for (const tab of tabs) await all.live(tab);
    await all.expectOnce(tabs, [meanwhile, await all.broadcast()]);
    const { streams } = all.proxy;
    expect(streams).toHaveLength(2);
    expect(streams[1]!.lastEventId).toBe(streams[0]!.sentId);
    expect(all.proxy.longestOverlapMs).toBe(0);
  }

  describe('the tabs of a browser go on where they stopped, over one stream', () => {
    it('after an error page of a proxy in front of the server (502, HTML)', async () => {
      const end = await insteadAnswer(502, { 'content-type': 'text/html' }, '<h1>Bad Gateway</h1>');
      const { length } = all.proxy.asked;
      await expect.poll(() => all.proxy.asked.length - length, { timeout: 10_000 }).toBeGreaterThan(1);
      const meanwhile = await all.broadcast();
      end();
      await expectResumed(meanwhile);
    });

    it('after 503, and not before its Retry-After', async () => {
      const headers = { 'content-type': 'application/json', 'retry-after': '4' };
      const stream = /^\/api\/events\/stream/;
      all.proxy.answer = (path, response) => {
        if (!stream.test(path)) return false;
        response.writeHead(503, headers).end('{}');
        return true;
      };
      const streamsAsked = () => all.proxy.asked.filter((path) => stream.test(path)).length;
      const before = streamsAsked();
      await all.proxy.stop();
      await all.proxy.start();
      await expect.poll(streamsAsked, { timeout: 10_000, interval: 10 }).toBe(before + 1);
      const refusedAt = performance.now();
      const meanwhile = await all.broadcast();
      all.proxy.answer = () => false;
      await expect.poll(streamsAsked, { timeout: 15_000, interval: 10 }).toBe(before + 2);
      expect(performance.now() - refusedAt).toBeGreaterThan(3_800);
      await expectResumed(meanwhile);
    });

    it('after a network that was off, as soon as it is on again', async () => {
      await engine.setOffline?.(true);
      await all.proxy.stop();
      for (const tab of tabs) await expect.poll(() => all.state(tab), { timeout: 10_000 }).toBe('connecting');
      const meanwhile = await all.broadcast();
      // Long enough for waits of several seconds between attempts.
      await new Promise((resolve) => setTimeout(resolve, 12_000));
      const from = performance.now();
      await all.proxy.start();
      if (engine.setOffline) await engine.setOffline(false);
      else for (const tab of tabs) await tab.evaluate("void window.dispatchEvent(new Event('online'))");
      for (const tab of tabs) await all.live(tab);
      expect(performance.now() - from).toBeLessThan(3_000);
      await expectResumed(meanwhile);
    }, 60_000);

    it('after a server that was away for 40 s', async () => {
      await all.proxy.stop();
      const meanwhile = await all.broadcast();
      await new Promise((resolve) => setTimeout(resolve, 40_000));
      await all.proxy.start();
      for (const tab of tabs) await expect.poll(() => all.state(tab), { timeout: 35_000 }).toBe('live');
      await expectResumed(meanwhile);
    }, 120_000);
  });

  it('twelve tabs that open at once over HTTP/1.1 are all live, over one stream', async () => {
    const more = await all.openTabs(engine, 'worker', 12);
    await all.expectOnce([...tabs, ...more], [await all.broadcast()]);
    expect(all.proxy.streams).toHaveLength(1);
  });
}
