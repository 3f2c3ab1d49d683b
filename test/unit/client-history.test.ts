/** The test vectors of docs/stream.md, "The delta of a history", and what may go wrong on the way. */
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
  it('follows the test vectors of the protocol', async () => {
    const { view, asked, shown } = open([
      delta('a1.10', '1:a 2:b', { start_over: true }),
      delta('a1.14', '2:B'),
      delta('a1.14', '2:B 3:c'),
      delta('a1.14.16.d1', '1:A', { up_to_date: false }),
      delta('a1.16', '4:d'),
      delta('a1.18', '1:late'),
      delta('b7.3', '1:old', { start_over: true }),
      delta('b7.4', '1:old', { start_over: true }),
    ]);
    await eventually(() => shown() === '1:a 2:b');
    view.changed('a1.10');
    await eventually(() => shown() === '1:a 2:B');
    view.changed('a1.12');
    await eventually(() => shown() === '1:a 2:B 3:c');
    view.changed('a1.14');
    await eventually(() => shown() === '1:A 2:B 3:c 4:d');
    view.changed('a1.16');
    await eventually(() => shown() === '1:late 2:B 3:c 4:d');
    view.changed(null);
    await eventually(() => shown() === '1:old');
    view.changed('b7.3');
    await eventually(() => asked.length === 8 && view.isUpToDate);
    expect(asked).toEqual(['', 'a1.10', 'a1.14', 'a1.14', 'a1.14.16.d1', 'a1.16', '', 'b7.3']);
  });

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
