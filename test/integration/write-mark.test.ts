/** The answer to a write holds a mark; the stream says when everything up to that write is out, and the write itself. */
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { clientOptions } from '../../src/database/postgres/options.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import type { SseClient } from '../support/sse-client.js';

const KEY = { 'x-api-key': 'demo-alice' };
const ENDS = { timeout: 60_000 };

/** As it is built: its sources are written for browsers. */
interface ClientModule {
  LightconeClient: new (
    options: object,
  ) => {
    open(): void;
    close(): void;
    includes(mark: string): Promise<boolean>;
    history(id: string, onChange: () => void): Promise<View>;
  };
}
interface View {
  items: ReadonlyMap<string, object>;
  includes(mark: string): Promise<void>;
  close(): void;
}

let here: Installation;
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await here.close();
});

async function send(method: string, url: string, body: object): Promise<Response> {
  const answer = await fetch(url, {
    method,
    headers: { ...KEY, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer;
}

const historyUrl = (url: string): string => `${url}/api/histories/${here.encode(DEMO.histories.alice)}`;

/** Renames Alice's history. @returns the mark of that write */
async function rename(url: string, name: string): Promise<string> {
  const mark = (await send('PUT', historyUrl(url), { name })).headers.get('x-write-mark');
  expect(mark).toMatch(/^[0-9a-f]+\.[0-9a-z]+$/);
  return mark!;
}

const ask = (url: string, ...marks: string[]) => send('POST', `${url}/api/events/marks`, { marks });

const toldAt = (stream: SseClient, mark: string): number =>
  stream.frames.findIndex(({ event, data }) => event === 'marks_reached' && data!.includes(`"${mark}"`));
const told = (stream: SseClient, mark: string, within = 5_000): Promise<true> =>
  eventually(() => toldAt(stream, mark) >= 0, { within, what: `the mark ${mark}` });
const lastChange = (stream: SseClient): number =>
  stream.frames.findLastIndex(({ event }) => event === 'history_update');

describe('with PostgreSQL, RabbitMQ and two workers', () => {
  const writer = async (): Promise<pg.Client> => {
    const client = new pg.Client(clientOptions(String(here.galaxy.database_connection), 'writer'));
    client.on('error', () => {});
    await client.connect();
    closing.push(() => client.end().catch(() => {}));
    return client;
  };

  it(
    'a stream of any worker says it behind the change, while another writer holds a transaction open',
    ENDS,
    async () => {
      here = await Installation.production();
      const [one, two] = [await here.worker(), await here.worker()];
      const open = await writer();
      await open.query(`BEGIN; UPDATE history SET name = 'still open' WHERE id = ${DEMO.histories.bob}`);
      const streams = [await here.stream(one.url), await here.stream(two.url)];
      const stranger = await here.stream(two.url, 'key=demo-bob');
      const mark = await rename(one.url, 'mine');
      await ask(two.url, mark);
      for (const stream of streams) {
        await told(stream, mark);
        const at = toldAt(stream, mark);
        expect(JSON.parse(stream.frames[at]!.data!)).toEqual({ marks: [mark], start_over: false });
        expect(lastChange(stream)).toBeGreaterThanOrEqual(0);
        expect(lastChange(stream)).toBeLessThan(at);
      }
      // Already out: said at once.
      const begun = performance.now();
      await ask(one.url, mark);
      const again = (stream: SseClient) =>
        stream.frames.filter(({ event }) => event === 'marks_reached').length === 2;
      await eventually(() => streams.every(again), { within: 1_000 });
      expect(performance.now() - begun).toBeLessThan(1_000);
      expect(stranger.frames.some(({ event }) => event === 'marks_reached')).toBe(false);
      await open.query('ROLLBACK');
    },
  );

  it('never says it before the change, however long that is held back to be merged', ENDS, async () => {
    here = await Installation.production();
    const settings = { sse: { debounce: 3 } };
    const [one, two] = [await here.worker(settings), await here.worker(settings)];
    const stream = await here.stream(two.url);
    await rename(one.url, 'first, told at once');
    await eventually(() => lastChange(stream) >= 0, { within: 5_000 });
    const before = stream.frames.length;
    const mark = await rename(one.url, 'second, told at the end of the window');
    await ask(one.url, mark);
    await told(stream, mark, 10_000);
    const since = stream.frames.slice(before).filter(({ event }) => event !== undefined);
    expect(since.map(({ event }) => event)).toEqual(['history_update', 'marks_reached']);
  });

  it('a stream that broke is asked again, and says it behind what it missed', ENDS, async () => {
    here = await Installation.production();
    const [one, two] = [await here.worker(), await here.worker()];
    const first = await here.stream(one.url);
    await rename(two.url, 'before');
    await eventually(() => lastChange(first) >= 0, { within: 5_000 });
    const cursor = first.lastEventId!;
    first.close();
    const mark = await rename(two.url, 'while it was away');
    // Nobody is there to be told.
    await ask(two.url, mark);
    const second = await here.stream(two.url, `key=demo-alice&last_event_id=${cursor}`);
    await ask(one.url, mark);
    await told(second, mark);
    expect(lastChange(second)).toBeGreaterThanOrEqual(0);
    expect(lastChange(second)).toBeLessThan(toldAt(second, mark));
  });

  it('of another log nothing can be said: start over, at once', ENDS, async () => {
    here = await Installation.production();
    const { url } = await here.worker();
    const stream = await here.stream(url);
    const mark = await rename(url, 'known');
    await ask(url, mark);
    await told(stream, mark);
    const foreign = `0bad0bad.${mark.split('.')[1]}`;
    await ask(url, foreign);
    await told(stream, foreign, 1_000);
    expect(JSON.parse(stream.frames[toldAt(stream, foreign)]!.data!)).toEqual({
      marks: [foreign],
      start_over: true,
    });
    await expect(ask(url, 'nonsense')).rejects.toThrow('400');
  });
});

describe('with SQLite', () => {
  it('every kind of write has its mark, and the client waits for it', ENDS, async () => {
    here = Installation.embedded();
    const { url } = await here.worker();
    const contents = `${historyUrl(url)}/contents`;
    const built = '../../packages/client/dist/index.js';
    const { LightconeClient } = (await import(built)) as ClientModule;
    const client = new LightconeClient({ baseUrl: url, apiKey: 'demo-alice', share: 'none', polling: false });
    closing.push(() => client.close());
    client.open();
    const view = await client.history(here.encode(DEMO.histories.alice), () => {});
    closing.push(() => view.close());
    const made = await send('POST', contents, { name: 'one' });
    const { type_id, id } = (await made.json()) as { type_id: string; id: string };
    const written = [
      made,
      await send('PUT', `${contents}/datasets/${id}`, { name: 'two' }),
      await send('POST', `${url}/api/histories`, { name: 'another' }),
      await send('PUT', `${historyUrl(url)}/publish`, {}),
      await send('PUT', `${historyUrl(url)}/share_with_users`, { user_ids: ['bob@example.org'] }),
      await send('DELETE', `${contents}/datasets/${id}`, {}),
    ];
    const marks = written.map(({ headers }) => headers.get('x-write-mark'));
    expect(new Set(marks).size).toBe(marks.length);
    expect(marks).not.toContain(null);
    await view.includes(marks.at(-1)!);
    expect(view.items.get(type_id)).toMatchObject({ name: 'two', deleted: true });
    expect(await Promise.all(marks.map((mark) => client.includes(mark!)))).toEqual(marks.map(() => true));
    // Of another file: the view loads anew, and is right as well.
    await here.sql(`UPDATE history_dataset_association SET name = 'behind its back' WHERE name = 'two'`);
    await view.includes('0bad0bad.1');
    expect(view.items.get(type_id)).toMatchObject({ name: 'behind its back' });
  });
});
