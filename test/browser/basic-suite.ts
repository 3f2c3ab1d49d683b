/** What the client does in every engine: one stream for all tabs, and nothing missed or told twice. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ClientTabs, type Share } from '../support/client-tabs.js';
import type { Engine, Tab } from '../support/engines.js';

/** A tab that is closed takes its lock along before its socket: the server sees two for that moment. */
const HANDOVER_MS = 1_000;
const STREAM = '/api/events/stream';

export function basicSuite(launch: () => Promise<Engine>, { discards = true } = {}): void {
  let engine: Engine;
  let all: ClientTabs;
  beforeAll(async () => {
    engine = await launch();
  });
  afterAll(() => engine.close());
  beforeEach(async () => {
    all = await ClientTabs.start();
  });
  afterEach(() => all.close());

  describe.each<Share>(['worker', 'lock', 'page'])('tabs that share by %s', (share) => {
    const openTabs = (count: number): Promise<Tab[]> => all.openTabs(engine, share, count);
    const expectState = async (tabs: readonly Tab[], state: string, timeout = 20_000): Promise<void> => {
      for (const tab of tabs) await expect.poll(() => all.state(tab), { timeout }).toBe(state);
    };

    /** Each stream began where the one before it ended, and then that one was closed. */
    const expectResumed = (): void => {
      const { streams } = all.proxy;
      for (const [index, { lastEventId }] of streams.entries())
        expect(lastEventId).toBe(streams.slice(0, index).findLast(({ sentId }) => sentId)?.sentId);
      expect(all.proxy.longestOverlapMs).toBeLessThan(HANDOVER_MS);
    };

    it('are told everything once, over one stream', async () => {
      const tabs = await openTabs(3);
      const subjects = [await all.broadcast(), await all.broadcast()];
      const history = await all.change();
      for (const tab of tabs) await expect.poll(() => all.told(tab)).toContain(history);
      await all.expectOnce(tabs, subjects);
      expect(all.proxy.streams).toHaveLength(1);
    });

    it('go on when the tab that opened the stream is closed', async () => {
      const first = await all.openTab(engine, share);
      await all.live(first);
      const others = await openTabs(2);
      await first.close();
      const subject = await all.broadcast();
      // WebKit may end a SharedWorker with the tab that began it: the others notice within 20 s.
      await all.expectOnce(others, [subject], 40_000);
      await expectState(others, 'live');
      expect(all.proxy.open).toBe(1);
      // Whoever comes later joins them.
      others.push(await all.openTab(engine, share));
      await expectState(others, 'live');
      await all.expectOnce(others, [await all.broadcast()]);
      expect(all.proxy.open).toBe(1);
      expectResumed();
    }, 90_000);

    it('go on while the tab that leads is frozen, and that one catches up when it is woken', async () => {
      const first = await all.openTab(engine, share);
      await all.live(first);
      const others = await openTabs(2);
      const wake = await engine.freeze(first);
      const meanwhile = await all.broadcast();
      await all.expectOnce(others, [meanwhile], 40_000);
      await expectState(others, 'live');
      expect(all.proxy.open).toBe(1);
      const awake = (await wake()) ? [first, ...others] : others;
      await expectState(awake, 'live');
      await all.expectOnce(awake, [meanwhile, await all.broadcast()], 40_000);
      expect(all.proxy.open).toBe(1);
      expectResumed();
    }, 90_000);

    if (discards)
      it('go on when the browser throws the page that leads out of memory', async () => {
        const first = await all.openTab(engine, share);
        await all.live(first);
        const others = await openTabs(2);
        const before = await all.broadcast();
        await all.expectOnce([first, ...others], [before]);
        await engine.discard!(first);
        const meanwhile = await all.broadcast();
        await all.expectOnce(others, [before, meanwhile], 40_000);
        await expectState(others, 'live');
        await all.expectOnce(others, [before, meanwhile, await all.broadcast()]);
        for (const tab of others)
          expect(await tab.evaluate('noted.states.slice(1)')).not.toContain('stopped');
        expect(all.proxy.open).toBe(1);
        expectResumed();
      }, 90_000);

    // web-platform-tests/wpt#61829, WebKit/WebKit#364: the lock of a worker outlived its page's reload.
    it('go on when the tab that opened the stream is reloaded', async () => {
      const first = await all.openTab(engine, share);
      await all.live(first);
      const others = await openTabs(2);
      await first.evaluate('void setTimeout(() => location.reload(), 0)');
      await all.expectOnce(others, [await all.broadcast()], 40_000);
      await expectState(others, 'live');
      expect(all.proxy.open).toBe(1);
      expect(all.proxy.longestOverlapMs).toBeLessThan(HANDOVER_MS);
    }, 90_000);

    it('resume at another server where they stopped, over one stream', async () => {
      const tabs = await openTabs(3);
      const before = await all.broadcast();
      await all.expectOnce(tabs, [before]);
      const { streams } = all.proxy;
      let history = '';
      await all.replaceServer({}, async () => {
        await expectState(tabs, 'connecting');
        history = await all.change();
      });
      for (const tab of tabs) await expect.poll(() => all.told(tab), { timeout: 20_000 }).toContain(history);
      await expectState(tabs, 'live');
      // What a server says while it starts and stops is a stream, too.
      for (const [index, { lastEventId }] of streams.entries()) {
        const sent = streams.slice(0, index).findLast(({ sentId }) => sentId !== undefined);
        expect(lastEventId).toBe(sent?.sentId);
      }
      expect(streams.length).toBeGreaterThan(1);
      expect(all.proxy.longestOverlapMs).toBe(0);
      await all.expectOnce(tabs, [before, await all.broadcast()]);
    });

    it('stop when the server answers 204, and ask no more', async () => {
      const tabs = await openTabs(2);
      all.proxy.answer = (path, response) => {
        if (!path.startsWith(STREAM)) return false;
        response.writeHead(204).end();
        return true;
      };
      await all.proxy.stop();
      await all.proxy.start();
      await expectState(tabs, 'stopped ended');
      const { length } = all.proxy.asked;
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      expect(all.proxy.asked.length).toBe(length);
    });

    it('are told the same by asking where the server has no streams, and return when it has', async () => {
      await all.replaceServer({ galaxy: { enable_sse_updates: false } });
      const tabs = [await all.openTab(engine, share), await all.openTab(engine, share)];
      await expectState(tabs, 'polling');
      const history = await all.change();
      for (const tab of tabs) await expect.poll(() => all.told(tab), { timeout: 20_000 }).toContain(history);
      expect(all.proxy.streams).toHaveLength(0);
      await all.replaceServer();
      // Whichever is in view.
      for (const tab of tabs) await tab.evaluate("window.dispatchEvent(new Event('online'))");
      await expectState(tabs, 'live');
      await all.expectOnce(tabs, [await all.broadcast()]);
      expect(all.proxy.open).toBe(1);
    });

    it('leave no stream behind when all are closed', async () => {
      for (const tab of await openTabs(2)) await tab.close();
      await expect.poll(() => all.proxy.open, { timeout: 10_000 }).toBe(0);
    });
  });

  it("the browser's own EventSource is told of a change, and after a restart of what it missed", async () => {
    const tab = await engine.openTab(all.proxy.blankPage);
    await tab.evaluate(`void (() => {
      globalThis.told = [];
      globalThis.source = new EventSource('/api/events/stream?key=demo-alice');
      for (const name of ['ready', 'history_update'])
        source.addEventListener(name, ({ data }) => told.push(name + data));
    })()`);
    const told = () => tab.evaluate<string[]>('told');
    await expect.poll(told, { timeout: 10_000 }).toEqual(['ready{}']);
    const history = expect.stringContaining(await all.change());
    await expect.poll(told, { timeout: 10_000 }).toContainEqual(history);
    const before = (await told()).length;
    await all.replaceServer({}, async () => {
      await all.change();
    });
    await expect.poll(async () => (await told()).slice(before), { timeout: 25_000 }).toContainEqual(history);
    const { streams } = all.proxy;
    expect(streams.at(-1)!.lastEventId).toBe(streams[0]!.sentId);
    await tab.close();
  }, 60_000);
}
