/** What may go wrong on the way to the contents of a history. What is right is in docs/vectors.md and `vectors.test.ts`. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HistoryView } from '../../packages/client/src/history.js';
import { eventually } from '../support/eventually.js';

const settings = {
  baseUrl: 'http://server/',
  apiKey: '',
  withCredentials: false,
  identity: '',
  keepaliveMs: 30_000,
  polling: true,
};
const rows = (text: string) =>
  text.split(' ').map((row) => ({ type_id: row.split(':')[0]!, name: row.split(':')[1] }));
const delta = (since: string | null, contents: string, more: object = {}) => ({
  since,
  up_to_date: true,
  start_over: false,
  contents: contents === '' ? [] : rows(contents),
  ...more,
});

/** Answers in their order; each remembers what was asked. */
function open(answers: unknown[]): {
  view: HistoryView;
  asked: string[];
  shown: () => string;
  changes: () => number;
} {
  const asked: string[] = [];
  vi.stubGlobal('fetch', async (url: string) => {
    asked.push(new URL(url).searchParams.get('since')!);
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    if (typeof answer === 'number') return new Response('{}', { status: answer });
    return Response.json(await answer);
  });
  let changes = 0;
  const view = new HistoryView(
    'h',
    () => settings,
    () => {
      changes += 1;
    },
    () => {},
  );
  view.refresh();
  const shown = () =>
    [...view.items.values()]
      .map((item) => `${item.type_id}:${item.name}`)
      .sort()
      .join(' ');
  return { view, asked, shown, changes: () => changes };
}
afterEach(() => vi.unstubAllGlobals());

describe('the view of a history', () => {
  it('asks once more, and not at the same time, for what is said while it asks', async () => {
    let answer = (_: unknown): void => {};
    const { view, asked, shown, changes } = open([
      new Promise((resolve) => {
        answer = resolve;
      }),
      delta('a.3', '1:new'),
    ]);
    for (let n = 0; n < 5; n += 1) view.changed('a.1');
    expect(asked).toHaveLength(1);
    answer(delta('a.2', '1:old', { start_over: true }));
    await eventually(() => shown() === '1:new');
    expect([asked, changes()]).toEqual([['', 'a.2'], 2]);
  });

  it('takes a list for everything, as a server without positions answers', async () => {
    const { view, asked, shown } = open([rows('1:a 2:b'), rows('1:A')]);
    await eventually(() => shown() === '1:a 2:b');
    view.changed();
    await eventually(() => shown() === '1:A');
    expect(asked).toEqual(['', '']);
  });

  it('tries again while nobody answers, and gives up where it may not look', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(-0.45);
    const { view, asked, shown } = open([
      new Error('away'),
      503,
      delta('a.1', '1:a', { start_over: true }),
      403,
    ]);
    await eventually(() => shown() === '1:a', { within: 5_000 });
    view.changed('a.1');
    await eventually(() => asked.length === 4);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(asked).toHaveLength(4);
    vi.restoreAllMocks();
  });

  it('says nothing any more once it is closed', async () => {
    let answer = (_: unknown): void => {};
    const { view, changes } = open([
      new Promise((resolve) => {
        answer = resolve;
      }),
    ]);
    view.close();
    answer(delta('a.1', '1:a', { start_over: true }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([changes(), view.items.size]).toEqual([0, 0]);
  });
});
