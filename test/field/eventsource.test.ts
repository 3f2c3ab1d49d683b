/**
 * EventSource clients that other people use, against our stream; and what was reported of such clients, tried with ours:
 * EventSource/eventsource#27, #35, #113, #326, #358, rexxars/eventsource-parser#17, joshmossas/event-source-plus#34,
 * florimondmanca/httpx-sse#35, launchdarkly/rust-eventsource-client#28, Yaffle/EventSource#88, whatwg/html#7791.
 */
import { createRequire } from 'node:module';
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource as Eventsource } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import fc from 'fast-check';
import { EventSource as UndiciEventSource } from 'undici';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BlockParser } from '../../packages/client/src/parser.js';
import { EventId, eventFrame } from '../../src/events/frame.js';
import { FakeServer, notingHub, settle } from '../support/fake-server.js';
import { DEMO, Installation } from '../support/installation.js';
import { StreamProxy } from '../support/stream-proxy.js';

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

describe.each(Object.keys(CLIENTS))('%s', (name) => {
  let here: Installation;
  let proxy: StreamProxy;
  beforeEach(async () => {
    here = Installation.embedded();
    proxy = await StreamProxy.to((await here.worker()).url);
  });
  afterEach(async () => {
    await proxy.stop();
    await here.close();
  });

  it('is told of a change, and after two restarts of the server of what happened meanwhile, from where it stopped', async () => {
    const told: string[] = [];
    const close = CLIENTS[name]!(`${proxy.url}/api/events/stream?key=demo-alice`, (event, data) =>
      told.push(`${event} ${data}`),
    );
    const change = expect.stringContaining(here.encode(DEMO.histories.alice));
    try {
      await expect.poll(() => told.length, { timeout: 10_000 }).toBeGreaterThan(0);
      expect(told[0]).toBe('ready {}');
      await here.change(DEMO.histories.alice);
      await expect.poll(() => told, { timeout: 10_000 }).toContainEqual(change);
      for (const _ of [1, 2]) {
        await here.stopWorkers();
        const before = told.length;
        await here.change(DEMO.histories.alice);
        proxy.target = (await here.worker()).url;
        await expect.poll(() => told.slice(before), { timeout: 25_000 }).toContainEqual(change);
      }
      const { streams } = proxy;
      expect(streams.length).toBeGreaterThanOrEqual(3);
      // A server that just stops may give a stream that it ends before anything is said.
      for (const [index, { lastEventId }] of streams.entries())
        expect(lastEventId).toBe(streams.slice(0, index).findLast(({ sentId }) => sentId)?.sentId);
    } finally {
      close();
    }
  }, 90_000);
});

it('eventsource-parser reads from our frames what was meant, whatever the data is', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 }), (texts) => {
      const read: EventSourceMessage[] = [];
      const parser = createParser({ onEvent: (event) => read.push(event) });
      for (const text of texts) parser.feed(eventFrame('broadcast_update', text, new EventId(0)).text);
      // The standard knows no other line end than LF, CR and CRLF, and reads each as LF.
      expect(read.map(({ data }) => data)).toEqual(texts.map((text) => text.replace(/\r\n|\r/g, '\n')));
      expect(read.every(({ event }) => event === 'broadcast_update')).toBe(true);
    }),
  );
});

describe('reports on other clients, tried with ours', () => {
  const read = (...chunks: string[]): string[] => {
    const parser = new BlockParser();
    const blocks = chunks.flatMap((chunk) => parser.push(chunk));
    return blocks.filter(({ event }) => event !== undefined).map(({ data }) => data);
  };

  it('a CRLF that two chunks share ends one line, not two (rexxars/eventsource-parser#17)', () => {
    expect(read('data: A\r\n', 'data: B\r', '\n', 'data: C\r\n', '\n')).toEqual(['A\nB\nC']);
    expect(read('data: A\r\n', 'data: B\r', 'data: C\r\n', '\n')).toEqual(['A\nB\nC']);
  });

  it('fields and blank lines may end in different ways (EventSource/eventsource#326)', () => {
    expect(read('event: x\r\ndata: 1\n\ndata: 2\r\n\ndata: 3\n\r\ndata: 4\r\r', ':\n')).toEqual([
      '1',
      '2',
      '3',
      '4',
    ]);
  });

  it('an empty line of the data stays (EventSource/eventsource#35)', () => {
    expect(read('data: I am\ndata: a text.\ndata: \ndata: Hello!\n\n')).toEqual(['I am\na text.\n\nHello!']);
  });

  it('wherever a message is cut, it arrives whole and once (EventSource/eventsource#113)', () => {
    const text = ': hello\n\nid: 51\r\nevent: e\r\ndata: {"streamRevision":41}\r\n\r\ndata:second\n\n';
    for (let one = 0; one <= text.length; one += 1)
      for (let two = one; two <= text.length; two += 1)
        expect(read(text.slice(0, one), text.slice(one, two), text.slice(two))).toEqual([
          '{"streamRevision":41}',
          'second',
        ]);
  });

  it('any text in any pieces is read as eventsource-parser reads it', () => {
    const part = fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      'data',
      ':',
      ' ',
      'id',
      'event',
      'x',
      'retry',
      '5',
      '\0',
    );
    fc.assert(
      fc.property(fc.array(fc.array(part, { maxLength: 8 }), { maxLength: 8 }), (pieces) => {
        const chunks = [...pieces.map((piece) => piece.join('')), '\n\n:\n\n'];
        const theirs: string[] = [];
        const parser = createParser({ onEvent: ({ data }) => theirs.push(data) });
        // In one piece: its own trouble with split line ends is not ours.
        parser.feed(chunks.join(''));
        expect(read(...chunks)).toEqual(theirs);
      }),
      { numRuns: 2_000 },
    );
  });

  describe('over a stream', () => {
    let server: FakeServer;
    beforeEach(() => {
      server = new FakeServer();
      vi.spyOn(Math, 'random').mockReturnValue(0);
    });
    afterEach(() => FakeServer.restore());

    async function live() {
      const noted = notingHub();
      noted.hub.open('');
      await settle();
      return noted;
    }
    async function again(): Promise<void> {
      await server.stream.end();
      await server.pass(1_100);
    }

    it('characters arrive whole, byte by byte (joshmossas/event-source-plus#34)', async () => {
      const { hub, events } = await live();
      for (const byte of new TextEncoder().encode('event: e\ndata: "ñ 北 “ 😀"\nid: 1\n\n'))
        await server.stream.write(new Uint8Array([byte]));
      expect(events).toEqual([['e', 'ñ 北 “ 😀', '1']]);
      hub.close();
    });

    it('a byte order mark is ignored at the beginning, and only there (whatwg/html#7791)', async () => {
      const { hub, events } = await live();
      await server.stream.write('\ufeffevent: e\ndata: 1\n\n\ufeffdata: 2\n\ndata: 3\n\n');
      expect(events.map(([name, data]) => [name, data])).toEqual([
        ['e', 1],
        ['message', 3],
      ]);
      hub.close();
    });

    it('each attempt resumes from the newest id, not from the first (EventSource/eventsource#27)', async () => {
      const { hub } = await live();
      for (const id of ['1', '2', '3']) {
        await server.stream.write(`event: e\ndata: {}\nid: ${id}\n\n`);
        await again();
        expect(server.stream.lastEventId).toBe(id);
      }
      hub.close();
    });

    it('an event without an id has that of the one before it (EventSource/eventsource#358)', async () => {
      const { hub, events } = await live();
      await server.stream.write('event: e\ndata: 1\nid: 7\n\nevent: e\ndata: 2\n\n');
      expect(events.map(([, , id]) => id)).toEqual(['7', '7']);
      hub.close();
    });

    it('an empty id takes the cursor back (launchdarkly/rust-eventsource-client#28)', async () => {
      const { hub } = await live();
      await server.stream.write('id: 7\n\nid\n\n');
      await again();
      expect(server.stream.lastEventId).toBeNull();
      hub.close();
    });

    it('a comment after an event is no event (florimondmanca/httpx-sse#35)', async () => {
      const { hub, events } = await live();
      await server.stream.write('event: e\ndata: 1\nid: 7\n\n: ping\n\n: ping\nid: 8\n\n');
      expect([events.length, hub.cursor]).toEqual([1, '8']);
      hub.close();
    });

    it('a server error is not the end (Yaffle/EventSource#88)', async () => {
      const { hub } = await live();
      await server.stream.ready('1');
      server.refuse = () => new Response('', { status: 500 });
      await again();
      server.refuse = undefined;
      await server.pass(1_000);
      await server.stream.ready('1');
      expect(hub.state).toBe('catching_up');
      hub.close();
    });
  });
});
