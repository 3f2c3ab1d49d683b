/** What may go wrong on the way to the contents of a history. What is right is in docs/vectors.md and `vectors.test.ts`. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HistoryView } from '../../packages/client/src/history.js';
import { Marks } from '../../packages/client/src/marks.js';
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

const body = (value: unknown) => new Response(JSON.stringify(value));
/** Answers in their order; each remembers what was asked. */
function open(
  answers: unknown[],
  onChange = (): void => {},
): {
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
    if (answer instanceof Response) return answer;
    if (typeof answer === 'number') return new Response('{}', { status: answer });
    return Response.json(await answer);
  });
  let changes = 0;
  const view = new HistoryView(
    'h',
    () => settings,
    () => {
      changes += 1;
      onChange();
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
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

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

  it('tries again while nobody answers', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(-0.45);
    const { view, asked, shown } = open([
      new Error('away'),
      503,
      new Response('<h1>Log in to the network of this hotel</h1>'),
      body({ unknown: true }),
      429,
      delta('a.1', '1:a', { start_over: true }),
    ]);
    await eventually(() => shown() === '1:a', { within: 5_000 });
    expect([asked, view.isUpToDate, view.refused]).toEqual([Array(6).fill(''), true, 0]);
  });

  it.each([401, 403, 404, 400])(
    'shows nothing where it may not look any more (%i), says so, and is right when it may again',
    async (status) => {
      const { view, asked, shown, changes } = open([
        delta('a.1', '1:a', { start_over: true }),
        status,
        delta('a.9', '1:A', { start_over: true }),
      ]);
      await eventually(() => shown() === '1:a');
      view.changed('a.1');
      await eventually(() => view.refused === status);
      expect([shown(), changes(), view.isUpToDate]).toEqual(['', 2, false]);
      view.changed('a.8');
      await eventually(() => shown() === '1:A');
      expect([asked, view.isUpToDate, view.refused]).toEqual([['', 'a.1', ''], true, 0]);
    },
  );

  it('waits longer and longer for a server that is never up to date and gets no further', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const stuck = Array.from({ length: 40 }, () => delta('a.1', '1:a', { up_to_date: false }));
    const { view, asked, changes } = open([
      delta('a.0', '', { up_to_date: false, start_over: true }),
      ...stuck,
    ]);
    await vi.advanceTimersByTimeAsync(20_000);
    // At once for each that gets further, then after 1, 2, 4 and 8 s.
    expect(asked).toEqual(['', 'a.0', 'a.1', 'a.1', 'a.1', 'a.1', 'a.1']);
    expect([view.isUpToDate, changes()]).toEqual([false, 0]);
    view.close();
    await vi.advanceTimersByTimeAsync(100_000);
    expect(asked).toHaveLength(7);
  });

  it('does not go on waiting for a server that is there again', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1_000);
    const { view, shown } = open([503, delta('a.1', '1:a', { start_over: true })]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    view.refresh(true);
    await eventually(() => shown() === '1:a');
  });

  it('starts over where it is told to in the middle of a first load', async () => {
    for (const pages of [1, 2]) {
      let answer = (_: unknown): void => {};
      const { view, asked, shown } = open([
        ...(pages === 2 ? [delta('old.1', '1:old', { start_over: true, up_to_date: false })] : []),
        new Promise((resolve) => {
          answer = resolve;
        }),
        delta('new.1', '9:new', { start_over: true }),
      ]);
      await eventually(() => asked.length === pages);
      view.changed(null);
      answer(delta('old.2', '2:old', { start_over: pages === 1 }));
      await eventually(() => shown() === '9:new');
      expect([asked.at(-1), view.isUpToDate]).toEqual(['', true]);
    }
  });

  it('holds 10,000 rows of many pages, and tells of them once', async () => {
    const pages = Array.from({ length: 20 }, (_, page) => ({
      ...delta(`a.${page + 1}`, '', { start_over: page === 0, up_to_date: page === 19 }),
      contents: Array.from({ length: 500 }, (_, row) => ({ type_id: `dataset-${500 * page + row}` })),
    }));
    const { view, asked, changes } = open(pages);
    await eventually(() => view.isUpToDate);
    expect([view.items.size, asked.length, changes()]).toEqual([10_000, 20, 1]);
  });

  it('goes on although the page fails in what it does with it', async () => {
    const complained = vi.spyOn(console, 'error').mockReturnValue();
    const { view, shown } = open([delta('a.1', '1:a', { start_over: true }), delta('a.2', '1:A')], () => {
      throw new Error('of the page');
    });
    await eventually(() => shown() === '1:a');
    view.changed('a.1');
    await eventually(() => shown() === '1:A');
    expect(complained).toHaveBeenCalledTimes(2);
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

  it('says that it includes a write once it does', async () => {
    const { view, shown } = open([
      delta('a.1', '1:a', { start_over: true }),
      delta('a.2', '1:b', { start_over: true }),
    ]);
    expect(await view.includes('a.mark')).toBe(true);
    expect(shown()).toBe('1:b');
  });

  it.each([401, 403, 404])('does not say so of a history that it may not see: %d', async (status) => {
    const { view } = open([delta('a.1', '1:a', { start_over: true }), status]);
    expect(await view.includes('a.mark')).toBe(false);
    expect([view.refused, view.items.size]).toEqual([status, 0]);
  });

  it('does not keep whoever waits for a write waiting when it is closed', async () => {
    const { view } = open([new Promise(() => {})]);
    const included = view.includes('a.mark');
    view.close();
    expect(await included).toBe(false);
  });
});

describe('who asks for a write without a stream', () => {
  it.each(['stopped', 'polling'] as const)('is answered that nobody can tell: %s', async (state) => {
    const marks = new Marks(() => settings);
    marks.moved(state);
    expect(await marks.wait('a.mark')).toBe(false);
  });
});
