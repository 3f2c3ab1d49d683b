/** Tabs of a browser with the client in them, in front of a real server behind a proxy that counts. */
import { expect } from 'vitest';
import type { Engine, Tab } from './engines.js';
import { eventually } from './eventually.js';
import { DEMO, Installation, type Settings } from './installation.js';
import { StreamProxy } from './stream-proxy.js';

/** `page`: by lock, where a policy or another origin leaves the tabs no worker. */
export type Share = 'worker' | 'lock' | 'page' | 'none';
const ELSEWHERE = { share: 'lock', workerUrl: 'http://elsewhere.invalid/worker.js' };
const SETTINGS: Settings = { galaxy: { enable_notification_system: true } };
const { alice } = DEMO.histories;

export class ClientTabs {
  readonly here = Installation.embedded();
  proxy!: StreamProxy;
  /** The path of the tabs' page; undefined: one with nothing in it. */
  page: string | undefined;
  #broadcasts = 0;
  readonly #tabs: Tab[] = [];

  static async start(settings: Settings = {}): Promise<ClientTabs> {
    const tabs = new ClientTabs();
    tabs.proxy = await StreamProxy.to(await tabs.#worker(settings));
    return tabs;
  }

  /** A tab with a client of alice's that notes what it is told. */
  async openTab<T extends Tab>(
    engine: Engine<T>,
    share: Share,
    options: Record<string, unknown> = {},
  ): Promise<T> {
    const tab = await engine.openTab(this.page ? this.proxy.url + this.page : this.proxy.blankPage);
    this.#tabs.push(tab);
    // A text: the test's own compiler would rewrite the import.
    await tab.evaluate(`(async () => {
      const { LightconeClient } = await import('${this.proxy.url}/assets/client/lightcone.js');
      const noted = { states: [], names: [], status: [] };
      const client = new LightconeClient(${JSON.stringify({ apiKey: 'demo-alice', ...(share === 'page' ? ELSEWHERE : { share }), ...options })});
      client.onState((state, reason) => noted.states.push(reason ? state + ' ' + reason : state));
      client.on('broadcast_update', ({ content }) => noted.names.push(content.subject));
      client.on('notification_status', ({ broadcasts }) =>
        noted.status.push(...broadcasts.map(({ content }) => content.subject)),
      );
      client.on('history_update', ({ history_ids }) => noted.names.push(...history_ids));
      client.open();
      Object.assign(globalThis, { noted, client });
    })()`);
    return tab;
  }

  async openTabs<T extends Tab>(engine: Engine<T>, share: Share, count: number): Promise<T[]> {
    const tabs = await Promise.all(Array.from({ length: count }, () => this.openTab(engine, share)));
    for (const tab of tabs) await this.live(tab);
    return tabs;
  }

  state(tab: Tab): Promise<string> {
    return tab.evaluate<string>('noted.states.at(-1)');
  }

  told(tab: Tab): Promise<string[]> {
    return tab.evaluate<string[]>('[...noted.names, ...noted.status]');
  }

  live(tab: Tab): Promise<void> {
    return expect.poll(() => this.state(tab), { timeout: 20_000 }).toBe('live');
  }

  /** A broadcast has an identity of its own: one that comes twice shows. @returns its subject */
  async broadcast(): Promise<string> {
    this.#broadcasts += 1;
    const subject = `broadcast ${this.#broadcasts}`;
    const answer = await fetch(`${this.proxy.target}/api/notifications/broadcast`, {
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

  /** @returns its encoded id */
  async change(): Promise<string> {
    await this.here.change(alice);
    return this.here.encode(alice);
  }

  /** Each of these subjects came to each of these tabs, and as an event not twice. */
  async expectOnce(tabs: readonly Tab[], subjects: readonly string[], timeout = 20_000): Promise<void> {
    for (const tab of tabs) {
      await expect.poll(() => this.told(tab), { timeout }).toEqual(expect.arrayContaining([...subjects]));
      const events = await tab.evaluate<string[]>('noted.names');
      for (const subject of subjects)
        expect(events.filter((name) => name === subject).length, subject).toBeLessThan(2);
    }
  }

  /** Another server with the same data takes the place of this one. */
  async replaceServer(settings: Settings = {}, meanwhile = async (): Promise<void> => {}): Promise<void> {
    await this.here.stopWorkers();
    await meanwhile();
    this.proxy.target = await this.#worker(settings);
  }

  async close(): Promise<void> {
    for (const tab of this.#tabs) await tab.close().catch(() => {});
    await this.proxy.stop();
    await this.here.close();
  }

  /** @returns its address */
  async #worker({ galaxy, sse }: Settings): Promise<string> {
    const settings = { galaxy: { ...SETTINGS.galaxy, ...galaxy }, sse: { ...sse } };
    // Without streams nobody leads.
    const waitUntilReady = galaxy?.enable_sse_updates !== false;
    const { url, lines } = await this.here.worker(settings, { waitUntilReady });
    const isReady = () => lines.some(({ msg }) => msg === 'ready');
    await eventually(isReady, { within: 20_000, what: 'a server' });
    return url;
  }
}
