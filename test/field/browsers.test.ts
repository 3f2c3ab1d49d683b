/**
 * What others met with SharedWorker, Web Locks, BroadcastChannel and uPlot, tried with our client and pages:
 * dexie/Dexie.js#1465, pubkey/broadcast-channel#10, whatwg/html#3054 and #6768, leeoniya/uPlot#94, #358, #370, grafana/grafana#106907.
 * Others are in test/browser: web-platform-tests/wpt#61829, WebKit/WebKit#364 (reload), WebKit/WebKit#71486 (the tab that began
 * the worker is closed), whatwg/html#11445 (back/forward cache), thunderbird/stormbox#97 (a worker that ends unheard),
 * dxos/dxos#11757, pubkey/broadcast-channel#385 (a leader that hangs).
 */
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChromiumEngine, chromiumEngine } from '../support/chromium.js';
import { ClientTabs, type Share } from '../support/client-tabs.js';

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

const DENIED = {
  'BroadcastChannel (dexie/Dexie.js#1465)':
    "globalThis.BroadcastChannel = class { constructor() { throw new DOMException('denied', 'SecurityError'); } };",
  'Web Locks (whatwg/html#3054)':
    "for (const name of ['request', 'query']) LockManager.prototype[name] = () => Promise.reject(new DOMException('denied', 'SecurityError'));",
};
const SCRIPTS = ['worker.js', 'lightcone.js'];

describe.each(Object.entries(DENIED))('where cookies are blocked, and with them %s', (_, denied) => {
  it.each<Share>(['lock', 'page'])('a tab has a stream of its own (%s)', async (share) => {
    const files = new Map<string, string>();
    for (const name of SCRIPTS)
      files.set(name, await (await fetch(`${all.proxy.url}/assets/client/${name}`)).text());
    all.proxy.answer = (path: string, response: ServerResponse) => {
      const script = files.get(path.split('/').pop()!);
      if (script === undefined) return false;
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(denied + script);
      return true;
    };
    const tabs = await all.openTabs(engine, share, 2);
    await all.expectOnce(tabs, [await all.broadcast()]);
    expect(all.proxy.open).toBe(2);
  });
});

// whatwg/html#6768, vercel/next.js#93489: a module that could not be loaded once is never loaded again.
it.each<Share>(['none', 'page', 'lock', 'worker'])(
  'a script that the server does not give at first is loaded later (%s)',
  async (share) => {
    let refused = 0;
    all.proxy.answer = (path, response) => {
      if (!path.startsWith('/assets/client/worker.js') || refused === 4) return false;
      refused += 1;
      response.writeHead(503).end();
      return true;
    };
    const tab = await all.openTab(engine, share);
    await all.live(tab);
    expect(refused).toBe(4);
    await all.expectOnce([tab], [await all.broadcast()]);
  },
);

// pubkey/broadcast-channel#10: tabs that opened at once each took themselves for the leader.
it.each<Share>(['lock', 'page'])('eight tabs that open at once have one leader (%s)', async (share) => {
  const tabs = await all.openTabs(engine, share, 8);
  await all.expectOnce(tabs, [await all.broadcast()]);
  expect(all.proxy.streams).toHaveLength(1);
});

const BUCKET = {
  streams: 3,
  waiting: 1,
  rates: {},
  p50: null,
  p99: null,
  watermarks: { 'worker.0': 400 },
};

describe('the plots', () => {
  const draw = async (width: number, script: string): Promise<{ canvases: number; problems: string[] }> => {
    const { page } = await engine.openTab(`${all.proxy.url}/status`);
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(error.message));
    await page.setViewportSize({ width, height: 600 });
    await page.evaluate(`(async () => {
      const { Plots } = await import('/assets/web/plots.js');
      const bucket = (at, more = {}) => ({ ...${JSON.stringify(BUCKET)}, at, ...more });
      const root = document.getElementById('plots');
      const frame = () => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
      const plots = new Plots(root);
      ${script}
      await frame();
    })()`);
    const canvases = await page.locator('#plots canvas').count();
    await page.close();
    return { canvases, problems };
  };

  it('are drawn in a page that is hidden at first, and in one that is nearly too narrow (leeoniya/uPlot#358, #370)', async () => {
    for (const width of [1_280, 200]) {
      const { canvases, problems } = await draw(
        width,
        `plots.begin({ bucket_seconds: 5, buckets: [bucket(100), bucket(105)] });
         await frame();
         document.getElementById('report').hidden = false;
         await frame();
         plots.add(bucket(110));`,
      );
      expect({ canvases, problems }).toEqual({ canvases: 8, problems: [] });
    }
  });

  it('leave nothing behind when workers come and go (grafana/grafana#106907)', async () => {
    const { canvases, problems } = await draw(
      1_280,
      `document.getElementById('report').hidden = false;
       plots.begin({ bucket_seconds: 5, buckets: [] });
       for (let n = 1; n <= 20; n += 1) plots.add(bucket(100 + 5 * n, { watermarks: { ['worker.' + n]: n } }));`,
    );
    expect({ canvases, problems }).toEqual({ canvases: 8, problems: [] });
  });

  it('have their moments in order, also after the clock was set back (leeoniya/uPlot#94)', async () => {
    const { canvases, problems } = await draw(
      1_280,
      `const drawn = [];
       const Real = uPlot;
       globalThis.uPlot = function (options, data, target) {
         const plot = new Real(options, data, target);
         const its = plot.setData;
         plot.setData = (next) => { drawn.push(next[0]); its(next); };
         return plot;
       };
       document.getElementById('report').hidden = false;
       plots.begin({ bucket_seconds: 5, buckets: [bucket(100), bucket(105), bucket(110)] });
       plots.add(bucket(104));
       plots.add(bucket(109));
       if (drawn.length !== 16) throw new Error('not drawn: ' + drawn.length);
       for (const moments of drawn)
         if (moments.some((at, index) => at <= (moments[index - 1] ?? 0))) throw new Error('out of order: ' + moments);`,
    );
    expect({ canvases, problems }).toEqual({ canvases: 8, problems: [] });
  });
});
