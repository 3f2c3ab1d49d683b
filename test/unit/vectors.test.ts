/** The test vectors of docs/vectors.md that need no database. */
import { afterEach, expect, it, vi } from 'vitest';
import { HistoryView } from '../../packages/client/src/history.js';
import { inclusion, parseMark } from '../../src/database/log/write-mark.js';
import { olderSince, type SinceToken } from '../../src/events/since.js';
import { eventually } from '../support/eventually.js';
import { vectorsOf } from '../support/vectors.js';

interface Step {
  step: string;
  event?: string | null;
  requests: { asked: string; answer: { since: string | null; contents: string[] } }[];
  holds: string[];
}
interface Item {
  type_id: string;
  name: string;
}

const STEPS = vectorsOf<Step>('client');
const items = (rows: readonly string[]): Item[] =>
  rows.map((row) => ({ type_id: row.split(':')[0]!, name: row.split(':')[1]! }));

/** Answers as the vectors say. @returns what was asked, in its order */
function serve(): string[] {
  const asked: string[] = [];
  const answers = STEPS.flatMap(({ requests }) => requests.map(({ answer }) => answer));
  vi.stubGlobal('fetch', async (url: string) => {
    const answer = answers[asked.length]!;
    asked.push(new URL(url).searchParams.get('since')!);
    return Response.json({ ...answer, contents: items(answer.contents) });
  });
  return asked;
}
afterEach(() => vi.unstubAllGlobals());

const held = (rows: Iterable<Item>): string[] =>
  [...rows].map(({ type_id, name }) => `${type_id}:${name}`).sort();

it('a view of a history holds what the vectors say', async () => {
  const asked = serve();
  const settings = {
    baseUrl: 'http://server/',
    apiKey: '',
    withCredentials: false,
    identity: '',
    keepaliveMs: 30_000,
    polling: true,
  };
  const view = new HistoryView(
    'h',
    () => settings,
    () => {},
    () => {},
  );
  const expected: string[] = [];
  for (const { step, event, requests, holds } of STEPS) {
    if (expected.length === 0) view.refresh();
    else view.changed(event);
    expected.push(...requests.map((request) => request.asked));
    await eventually(() => view.isUpToDate && asked.length === expected.length, { what: step });
    expect(asked, step).toEqual(expected);
    expect(held(view.items.values() as Iterable<Item>), step).toEqual(holds);
  }
});

it('a client of twenty lines holds the same', async () => {
  serve();
  const rows = new Map<string, Item>();
  let kept = '';
  const changed = async (since: string | null): Promise<void> => {
    if (since === null) kept = '';
    for (;;) {
      const answer = await fetch(`http://server/api/histories/h/contents?since=${kept}`);
      const delta = (await answer.json()) as {
        since: string | null;
        up_to_date: boolean;
        start_over: boolean;
        contents: Item[];
      };
      if (delta.start_over) rows.clear();
      for (const item of delta.contents) rows.set(item.type_id, item);
      kept = delta.since ?? '';
      if (delta.up_to_date) return;
    }
  };
  for (const { step, event, holds } of STEPS) {
    await changed(event ?? null);
    expect(held(rows.values()), step).toEqual(holds);
  }
});

it.each(vectorsOf<{ positions: [SinceToken, SinceToken]; older: SinceToken }>('older'))(
  'of $positions the older one is $older',
  ({ positions: [one, other], older }) => {
    expect(olderSince(one, other)).toBe(older);
  },
);

it.each(vectorsOf<{ position: string; mark: string; included: boolean | null }>('marks'))(
  '$position includes $mark: $included',
  ({ position, mark, included }) => {
    expect(inclusion(position)(parseMark(mark)!) ?? null).toBe(included);
  },
);
