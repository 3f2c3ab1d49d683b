/**
 * What others met with pages, workers and streams, tried with our client in Chromium: privacycg/storage-access#175 (a worker with
 * other cookies than its page), spotify/confidence-sdk-js#409 and WebKit/standards-positions#451 (policies that forbid workers),
 * sveltejs/kit#15702 and krisk/Fuse#837 (Trusted Types), esphome/esphome-webserver#9 (pages below a path, `<base>`), whatwg/html#3818
 * (`document.open`), WebKit/WebKit#62789 (`window.stop`), rcarmo/piclaw#660 and GoogleChrome/workbox#2692 (service workers),
 * dxos/dxos#2687 and tracim/tracim#3547 (a computer that was asleep).
 */
import { execFileSync } from 'node:child_process';
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChromiumEngine, chromiumEngine } from '../support/chromium.js';
import { ClientTabs, type Share } from '../support/client-tabs.js';
import { DEMO } from '../support/installation.js';

const STREAM = '/api/events/stream';
let engine: ChromiumEngine;
let all: ClientTabs;
beforeAll(async () => {
  engine = await chromiumEngine();
});
afterAll(() => engine.close());
beforeEach(async () => {
  all = await ClientTabs.start();
});
afterEach(async () => {
  await all.close();
  await engine.context.clearCookies();
});

/** The tabs' page is one with these headers and this head; `more` may answer what else is asked. */
function page(
  headers: Record<string, string>,
  head = '',
  more: (path: string, response: ServerResponse) => boolean = () => false,
): void {
  all.page = '/a/deep/page';
  all.proxy.answer = (path, response) => {
    if (path !== all.page) return more(path, response);
    response
      .writeHead(200, { 'content-type': 'text/html', ...headers })
      .end(`<!doctype html>${head}<title>t</title>`);
    return true;
  };
}
const asked = (path: string) => all.proxy.asked.filter((one) => one.startsWith(path)).length;

describe('a page whose worker has other cookies than itself', () => {
  it.each<Share>(['worker', 'lock'])(
    'has a stream of its own, and asks a few times only (%s)',
    async (share) => {
      const [name, value] = (await all.here.cookieOf(DEMO.anonymousSession)).cookie.split('=') as [
        string,
        string,
      ];
      await engine.context.addCookies([{ name, value, url: all.proxy.url }]);
      all.proxy.answer = (path, response) => {
        if (path !== '/api/whoami') return false;
        const id = response.req.headers.referer?.endsWith('worker.js') ? 'somebody else' : 'alice';
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ id }));
        return true;
      };
      const tab = await all.openTab(engine, share, { apiKey: '' });
      await all.live(tab);
      expect(asked('/api/whoami')).toBeLessThan(12);
      await all.expectOnce([tab], [await all.broadcast()]);
      expect(all.proxy.streams).toHaveLength(1);
    },
  );
});

describe('the tabs of a page share one stream', () => {
  it.each([
    ['that forbids workers', { 'content-security-policy': "worker-src 'none'" }],
    ['that demands Trusted Types', { 'content-security-policy': "require-trusted-types-for 'script'" }],
    [
      'that demands Trusted Types of its own',
      { 'content-security-policy': "require-trusted-types-for 'script'; trusted-types own" },
    ],
    [
      'that is isolated from other origins',
      { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' },
    ],
  ])('%s', async (_, headers) => {
    page(headers);
    for (const share of ['auto', 'lock'] as Share[]) {
      const tabs = await all.openTabs(engine, share, 2);
      await all.expectOnce(tabs, [await all.broadcast()]);
      expect(all.proxy.open).toBe(1);
      for (const tab of tabs) await tab.close();
      await expect.poll(() => all.proxy.open).toBe(0);
    }
  });

  it('that has its own base, below a path', async () => {
    page({}, '<base href="/elsewhere/">');
    const tabs = await all.openTabs(engine, 'worker', 2);
    await all.expectOnce(tabs, [await all.broadcast()]);
    expect([all.proxy.open, asked('/elsewhere/'), asked('/a/')]).toEqual([1, 0, 2]);
  });
});

it('a page that demands Trusted Types still has a worker', async () => {
  page({ 'content-security-policy': "require-trusted-types-for 'script'" });
  const tab = await all.openTab(engine, 'worker');
  await all.live(tab);
  const session = await engine.context.browser()!.newBrowserCDPSession();
  const { targetInfos } = await session.send('Target.getTargets');
  expect(targetInfos.filter(({ type }) => type === 'shared_worker')).toHaveLength(1);
});

describe.each<Share>(['worker', 'lock', 'page'])('tabs that share by %s', (share) => {
  it('go on when the page is written anew and when its loading is stopped', async () => {
    const tabs = await all.openTabs(engine, share, 2);
    await tabs[0]!.evaluate(
      "void (document.open(), document.write('<title>anew</title>'), document.close())",
    );
    const subjects = [await all.broadcast()];
    await all.expectOnce(tabs, subjects);
    for (const tab of tabs) await tab.evaluate('window.stop()');
    subjects.push(await all.broadcast());
    await all.expectOnce(tabs, subjects, 20_000);
    await tabs[0]!.close();
    subjects.push(await all.broadcast());
    await all.expectOnce(tabs.slice(1), subjects, 20_000);
    expect(all.proxy.open).toBe(1);
    expect(all.proxy.longestOverlapMs).toBeLessThan(1_000);
  });

  it('are told 10,000 events that come at once, each of them once and in their order', async () => {
    let answered = 0;
    all.proxy.answer = (path, response) => {
      if (!path.startsWith(STREAM)) return false;
      answered += 1;
      response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .write('event: ready\ndata: {}\nid: 1\n\n');
      setTimeout(() => {
        for (let n = 0; n < 10_000; n += 1)
          response.write(`event: history_update\ndata: {"history_ids":["${n}"]}\nid: ${n + 2}\n\n`);
      }, 3_000);
      return true;
    };
    const tabs = await all.openTabs(engine, share, 3);
    for (const tab of tabs) {
      await expect.poll(() => tab.evaluate('noted.names.length'), { timeout: 20_000 }).toBe(10_000);
      expect(await tab.evaluate('noted.names.every((name, index) => name === String(index))')).toBe(true);
    }
    expect(answered).toBe(1);
  });

  it('go on as one after the computer was asleep, also where the server was replaced meanwhile', async () => {
    const tabs = await all.openTabs(engine, share, 3);
    const wake = sleep();
    try {
      await all.replaceServer();
      await new Promise((resolve) => setTimeout(resolve, 16_000));
    } finally {
      wake();
    }
    const subject = await all.broadcast();
    await all.expectOnce(tabs, [subject], 30_000);
    for (const tab of tabs) await all.live(tab);
    await all.expectOnce(tabs, [subject, await all.broadcast()]);
    expect(all.proxy.open).toBe(1);
    expect(all.proxy.longestOverlapMs).toBeLessThan(1_000);
  }, 90_000);
});

/** Every process of the browser stands still, as on a computer that sleeps. @returns ends it */
function sleep(): () => void {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,comm='], { encoding: 'utf8' }).trim().split('\n');
  const processes = lines.map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)!);
  const parents = new Map(processes.map(([, pid, parent]) => [Number(pid), Number(parent)]));
  const isOurs = (pid: number): boolean =>
    pid === process.pid || (parents.has(pid) && isOurs(parents.get(pid)!));
  const pids = processes
    .filter(([, pid, , name]) => name!.startsWith('chrom') && isOurs(Number(pid)))
    .map(([, pid]) => Number(pid));
  expect(pids.length).toBeGreaterThan(2);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  return () => {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  };
}

describe('behind a service worker', () => {
  const serve = (fetched: string) =>
    page({}, '', (path, response) => {
      if (path !== '/service-worker.js') return false;
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(
        `oninstall = () => skipWaiting();
         onactivate = (event) => event.waitUntil(clients.claim());
         onfetch = (event) => event.respondWith(${fetched});`,
      );
      return true;
    });
  async function controlled(): Promise<void> {
    const tab = await engine.openTab(all.proxy.url + all.page!);
    await tab.evaluate(
      "navigator.serviceWorker.register('/service-worker.js').then(() => navigator.serviceWorker.ready).then(() => true)",
    );
    await expect.poll(() => tab.evaluate('navigator.serviceWorker.controller !== null')).toBe(true);
    await tab.close();
  }
  afterEach(async () => {
    const tab = await engine.openTab(all.proxy.blankPage);
    await tab.evaluate(
      'navigator.serviceWorker.getRegistrations().then((all) => Promise.all(all.map((one) => one.unregister()))).then(() => true)',
    );
    await tab.close();
  });

  it('that fetches for the page the tabs share one stream', async () => {
    serve('fetch(event.request)');
    await controlled();
    const tabs = await all.openTabs(engine, 'worker', 2);
    await all.expectOnce(tabs, [await all.broadcast()]);
    expect(all.proxy.open).toBe(1);
  });

  it('that waits for the end of each answer they are told by asking', async () => {
    serve('fetch(event.request).then(async (answer) => new Response(await answer.arrayBuffer(), answer))');
    await controlled();
    const tab = await all.openTab(engine, 'worker');
    await expect.poll(() => all.state(tab), { timeout: 75_000 }).toBe('polling');
    const history = await all.change();
    await expect.poll(() => all.told(tab), { timeout: 10_000 }).toContain(history);
  }, 120_000);
});
