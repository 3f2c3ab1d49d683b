/** A SharedWorker that the browser began anew behind its tabs' backs (WebKit/WebKit#71486): it knows none of them. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { FromHub } from '../../packages/client/src/messages.js';
import { FakeServer, SETTINGS, settle } from '../support/fake-server.js';

/** A module of its own for each time it is begun. */
const WORKER = '../../packages/client/src/worker.ts';
let server: FakeServer;
beforeEach(() => {
  server = new FakeServer();
});
afterEach(() => FakeServer.restore());

class Tab {
  readonly heard: FromHub[] = [];
  #onmessage: (event: { data: unknown }) => void = () => {};
  /** The worker's end. */
  readonly port = {
    postMessage: (data: FromHub) => this.heard.push(data),
    set onmessage(listener: (event: { data: unknown }) => void) {
      this.listen(listener);
    },
    listen: (listener: (event: { data: unknown }) => void) => {
      this.#onmessage = listener;
    },
  };

  constructor(readonly name: string) {}

  say(message: object): void {
    this.#onmessage({ data: { ...message, tab: this.name } });
  }

  hello(seq: number, cursor: string): void {
    this.say({ t: 'hello', settings: SETTINGS, seq, cursor, watched: [], visible: true });
  }
}

async function begin(generation: number, tabs: readonly Tab[]): Promise<void> {
  const scope = { name: 'lightcone-1-0', onconnect: null as null | ((event: object) => void) };
  vi.stubGlobal('name', scope.name);
  vi.stubGlobal('onconnect', null);
  await import(/* @vite-ignore */ `${WORKER}?generation=${generation}`);
  const connect = (globalThis as unknown as typeof scope).onconnect!;
  // The browser connects each port once more.
  for (const tab of tabs) connect({ ports: [tab.port] });
}

it('asks each tab to introduce itself, and goes on with one stream from where they stopped', async () => {
  const tabs = [new Tab('one'), new Tab('two')];
  await begin(1, tabs);
  for (const tab of tabs) tab.hello(-1, '');
  await settle();
  await server.stream.ready('1');
  await server.stream.write('event: e\ndata: 1\nid: 7\n\n');
  expect(server.streams).toHaveLength(1);
  await server.stream.end();

  await begin(2, tabs);
  for (const tab of tabs) {
    tab.heard.length = 0;
    tab.say({ t: 'alive' });
    expect(tab.heard).toEqual([{ t: 'leader' }]);
    tab.hello(1, '7');
  }
  await settle();
  expect([server.open, server.stream.lastEventId]).toEqual([1, '7']);
  await server.stream.write('event: e\ndata: 2\nid: 8\n\n');
  for (const tab of tabs)
    expect(tab.heard.filter((message) => message.t === 'event')).toMatchObject([{ seq: 2, data: '2' }]);
});
