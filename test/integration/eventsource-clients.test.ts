/** EventSource clients that other people use, against our stream: `ready`, an event, and what happened while the server was away. */
import { createRequire } from 'node:module';
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource as Eventsource } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import fc from 'fast-check';
import { EventSource as UndiciEventSource } from 'undici';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { eventFrame, Position } from '../../src/events/frame.js';
import { DEMO, Installation } from '../support/installation.js';

const require = createRequire(import.meta.url);
// Their types do not fit a module.
const { EventSource: LaunchDarkly } = require('launchdarkly-eventsource');
const { default: ReconnectingEventSource } = require('reconnecting-eventsource');

interface Listener {
  addEventListener(name: string, listener: (event: { data: string }) => void): void;
  close(): void;
}
type Note = (name: string, data: string) => void;
const listening = (source: Listener, note: Note): (() => void) => {
  for (const name of ['ready', 'history_update'])
    source.addEventListener(name, ({ data }) => note(name, data));
  return () => source.close();
};

const CLIENTS: Record<string, (url: string, note: Note) => () => void> = {
  eventsource: (url, note) => listening(new Eventsource(url) as unknown as Listener, note),
  undici: (url, note) => listening(new UndiciEventSource(url) as unknown as Listener, note),
  'launchdarkly-eventsource': (url, note) => {
    const source = new LaunchDarkly(url, { initialRetryDelayMillis: 200 });
    // Without a listener an error of it would be nobody's.
    source.onerror = () => {};
    return listening(source, note);
  },
  'reconnecting-eventsource': (url, note) =>
    listening(
      new ReconnectingEventSource(url, {
        eventSourceClass: Eventsource,
        max_retry_time: 500,
      } as never) as unknown as Listener,
      note,
    ),
  'eventsource-client': (url, note) => {
    const client = createEventSource({ url, onMessage: ({ event, data }) => note(event ?? 'message', data) });
    return () => client.close();
  },
  '@microsoft/fetch-event-source': (url, note) => {
    const abort = new AbortController();
    // It is made for pages: it asks the document whether it is in view, and the window for its timers.
    vi.stubGlobal('document', { hidden: false, addEventListener() {}, removeEventListener() {} });
    vi.stubGlobal('window', globalThis);
    void fetchEventSource(url, {
      signal: abort.signal,
      openWhenHidden: true,
      // It tells blocks without data, too, against the standard: our comments that carry an `id:`, and `retry:`.
      onmessage: ({ event, data }) => (event || data) && note(event, data),
      onclose: () => {
        // A stream that merely ended is over for it, unless this throws.
        throw new Error('ended');
      },
      onerror: () => 200,
    });
    return () => {
      abort.abort();
      vi.unstubAllGlobals();
    };
  },
};

let here: Installation;
beforeEach(() => {
  here = Installation.embedded();
});
afterEach(() => here.close());

describe.each(Object.keys(CLIENTS))('%s', (name) => {
  it('is told of a change, and after a restart of the server of what happened meanwhile', async () => {
    const { url } = await here.worker();
    const told: string[] = [];
    const close = CLIENTS[name]!(`${url}/api/events/stream?key=demo-alice`, (event, data) =>
      told.push(`${event} ${data}`),
    );
    try {
      await expect.poll(() => told.length, { timeout: 10_000 }).toBeGreaterThan(0);
      expect(told[0]).toBe('ready {}');
      await here.change(DEMO.histories.alice);
      const change = expect.stringContaining(here.encode(DEMO.histories.alice));
      await expect.poll(() => told, { timeout: 10_000 }).toContainEqual(change);
      await here.stopWorkers();
      const before = told.length;
      await here.change(DEMO.histories.alice);
      await here.worker({ sse: { listen: new URL(url).host } });
      await expect.poll(() => told.slice(before), { timeout: 25_000 }).toContainEqual(change);
    } finally {
      close();
    }
  }, 60_000);
});

it('eventsource-parser reads from our frames what was meant, whatever the data is', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 }), (texts) => {
      const read: EventSourceMessage[] = [];
      const parser = createParser({ onEvent: (event) => read.push(event) });
      for (const text of texts) parser.feed(eventFrame('broadcast_update', text, new Position(0)).text);
      // The standard knows no other line end than LF, CR and CRLF, and reads each as LF.
      expect(read.map(({ data }) => data)).toEqual(texts.map((text) => text.replace(/\r\n|\r/g, '\n')));
      expect(read.every(({ event }) => event === 'broadcast_update')).toBe(true);
    }),
  );
});
