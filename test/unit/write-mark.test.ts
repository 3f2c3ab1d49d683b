import { describe, expect, it, vi } from 'vitest';
import { Marks } from '../../packages/client/src/marks.js';
import { AwaitedMarks } from '../../src/connections/routing/awaited-marks.js';
import { formatMark, inclusion, isMark, parseMark } from '../../src/database/log/write-mark.js';

const mark = (number: number) => formatMark('a1b2', BigInt(number));
const includes = (position: string, text: string) => inclusion(position)(parseMark(text)!);

describe('a position of the log includes a write', () => {
  it.each([
    // A snapshot: transactions below 20 have ended but for 12 and 17.
    ['a1b2.12:20:12,17', 11, true],
    ['a1b2.12:20:12,17', 12, false],
    ['a1b2.12:20:12,17', 13, true],
    ['a1b2.12:20:12,17', 17, false],
    ['a1b2.12:20:12,17', 19, true],
    ['a1b2.12:20:12,17', 20, false],
    ['a1b2.20:20:', 19, true],
    // Numbers of audit rows.
    ['a1b2.41', 41, true],
    ['a1b2.41', 42, false],
  ])('%s, write %i: %s', (position, number, expected) => {
    expect(includes(position, mark(number))).toBe(expected);
  });

  it('and nothing can be said of a write to another log', () => {
    expect(includes('ffff.20:20:', mark(3))).toBeUndefined();
    expect(includes('a1b2.9;9;', mark(3))).toBeUndefined();
  });

  it('keeps numbers of 64 bits apart', () => {
    const large = 2n ** 63n - 1n;
    const text = formatMark('a1b2', large);
    expect(isMark(text)).toBe(true);
    expect(includes(`a1b2.${large}:${large + 1n}:`, text)).toBe(true);
    expect(includes(`a1b2.${large}:${large}:`, text)).toBe(false);
  });

  it.each(['', 'x', 'a1b2', 'a1b2.', 'A1B2.3', 'a1b2.3.4', "a1b2.'", 'a1b2.zzzzzzzzzzzzzz'])(
    '%j is no mark',
    (text) => {
      expect(isMark(text)).toBe(false);
    },
  );
});

describe('marks that streams wait for', () => {
  it('are told once, to each who asked, and forgotten when nobody asks again', () => {
    let now = 0;
    const marks = new AwaitedMarks({ now: () => 0, monotonic: () => now });
    marks.add({ userId: 1 }, [mark(5), mark(9), 'ffff.1'], undefined);
    marks.add({ sessionId: 1 }, [mark(5)], undefined);
    expect([...marks.take('a1b2.6:6:')]).toEqual([
      { owner: { userId: 1 }, reached: [mark(5)], unknown: ['ffff.1'] },
      { owner: { sessionId: 1 }, reached: [mark(5)], unknown: [] },
    ]);
    expect([...marks.take('a1b2.6:6:')]).toEqual([]);
    expect(marks.size).toBe(1);
    now = 60_001;
    expect([...marks.take('a1b2.6:6:')]).toEqual([]);
    expect(marks.size).toBe(0);
  });

  it('are decided at once where that can be, without a look at those that others wait for', () => {
    const marks = new AwaitedMarks({ now: () => 0, monotonic: () => 0 });
    marks.add({ userId: 1 }, [mark(5), mark(30)], undefined);
    expect([...marks.add({ userId: 2 }, [mark(5), mark(20)], 'a1b2.9:9:')]).toEqual([
      { owner: { userId: 2 }, reached: [mark(5)], unknown: [] },
    ]);
    expect(marks.size).toBe(3);
    expect([...marks.take('a1b2.25:25:')]).toEqual([
      { owner: { userId: 1 }, reached: [mark(5)], unknown: [] },
      { owner: { userId: 2 }, reached: [mark(20)], unknown: [] },
    ]);
  });

  it('are no more than 10,000, whoever asks', () => {
    const marks = new AwaitedMarks({ now: () => 0, monotonic: () => 0 });
    for (let n = 0; n < 20_000; n += 1) marks.add({ userId: n % 7 }, [mark(n)], undefined);
    expect(marks.size).toBe(10_000);
  });
});

describe('the client', () => {
  const settings = {
    baseUrl: 'http://server/',
    apiKey: '',
    withCredentials: false,
    identity: '',
    keepaliveMs: 30_000,
    polling: true,
  };
  const serve = (status: () => number): string[][] => {
    const asked: string[][] = [];
    vi.stubGlobal('fetch', async (_url: string, { body }: RequestInit) => {
      asked.push((JSON.parse(String(body)) as { marks: string[] }).marks);
      return new Response(null, { status: status() });
    });
    return asked;
  };

  it('asks when the stream is live, again on each new one, and every 10 s', async () => {
    vi.useFakeTimers();
    try {
      const asked = serve(() => 204);
      const marks = new Marks(() => settings);
      const one = marks.wait('a1.1');
      await vi.advanceTimersByTimeAsync(20_000);
      expect(asked).toEqual([]);
      marks.moved('live');
      await vi.advanceTimersByTimeAsync(10_100);
      expect(asked).toEqual([['a1.1'], ['a1.1']]);
      marks.moved('connecting');
      await vi.advanceTimersByTimeAsync(30_000);
      expect(asked).toHaveLength(2);
      marks.moved('live');
      const two = marks.wait('a1.2');
      await vi.advanceTimersByTimeAsync(1);
      expect(asked.slice(2)).toEqual([['a1.1'], ['a1.2']]);
      marks.told({ marks: ['a1.1', 'a1.7'], start_over: false });
      marks.told({ marks: ['a1.2'], start_over: true });
      expect(await Promise.all([one, two])).toEqual([true, false]);
      await vi.advanceTimersByTimeAsync(60_000);
      expect(asked).toHaveLength(4);
    } finally {
      vi.useRealTimers();
      vi.unstubAllGlobals();
    }
  });

  it('says no where nobody tells: an old server, polling, a closed client', async () => {
    serve(() => 404);
    const marks = new Marks(() => settings);
    marks.moved('live');
    expect(await marks.wait('a1.1')).toBe(false);
    marks.moved('polling');
    expect(await marks.wait('a1.1')).toBe(false);
    marks.moved('connecting');
    const last = marks.wait('a1.2');
    marks.moved('stopped');
    expect(await last).toBe(false);
    vi.unstubAllGlobals();
  });
});
