import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HistoryChange } from '../../src/core/events.js';
import { Coalescer } from '../../src/monitor/coalescer.js';

const WINDOW = 200;
const ALL = 1000;
const change = (historyId: number): HistoryChange => ({ historyId, userId: 1, sessionIds: [], newest: 1 });

/** Runs the coalescer as the monitor does: `additions` are [time, history]; it is asked whenever something is due. */
function play(
  additions: readonly (readonly [number, number])[],
  window = WINDOW,
): { at: number; id: number }[] {
  const coalescer = new Coalescer(window);
  const taken: { at: number; id: number }[] = [];
  const take = (until: number): void => {
    for (;;) {
      const due = coalescer.nextDue();
      if (due === undefined || due > until) return;
      for (const { historyId } of coalescer.take(due, ALL).changes) taken.push({ at: due, id: historyId });
    }
  };
  for (const [at, id] of additions) {
    take(at);
    coalescer.add(change(id), 1, at);
  }
  take(Number.POSITIVE_INFINITY);
  return taken;
}

describe('first at once, then paced', () => {
  it('the first change of a quiet history goes out immediately', () => {
    expect(play([[1003, 1]])).toEqual([{ at: 1003, id: 1 }]);
    expect(
      play([
        [1003, 1],
        [1203, 1],
      ]),
    ).toEqual([
      { at: 1003, id: 1 },
      { at: 1203, id: 1 },
    ]);
  });

  it('further ones within the window go out together at its end, never later', () => {
    const taken = play([
      [1000, 1],
      [1010, 1],
      [1150, 1],
    ]);
    expect(taken).toHaveLength(2);
    expect(taken[1]!.at).toBeLessThanOrEqual(1200);
    expect(taken[1]!.at).toBeGreaterThan(1150);
  });

  it('one busy history does not hold up another', () => {
    const taken = play([
      [1000, 1],
      [1010, 1],
      [1020, 2],
    ]);
    expect(taken).toContainEqual({ at: 1020, id: 2 });
  });

  it.each([0, 3, 12, 24.9])('a burst of 200 in one second gives 2 to 7 events (offset %d ms)', (offset) => {
    const taken = play(Array.from({ length: 200 }, (_, i) => [10_000 + offset + i * 5, 1] as const));
    expect(taken.length).toBeGreaterThanOrEqual(2);
    expect(taken.length).toBeLessThanOrEqual(7);
  });

  it('a window of 0 merges nothing', () => {
    expect(
      play(
        [
          [1, 1],
          [2, 1],
          [3, 1],
        ],
        0,
      ),
    ).toHaveLength(3);
  });

  it('takes no more than it is asked for, and nothing before its time', () => {
    const coalescer = new Coalescer(WINDOW);
    const take = (now: number) => coalescer.take(now, 2).changes.map(({ historyId }) => historyId);
    for (const id of [1, 2, 3]) coalescer.add(change(id), 1, 0);
    expect(take(0)).toEqual([1, 2]);
    expect(take(0)).toEqual([3]);
    coalescer.add(change(1), 2, 10);
    expect(take(10)).toEqual([]);
    expect(coalescer.nextDue()).toBe(200);
  });

  it('knows the oldest read that something waits of, and keeps the newest owner', () => {
    const coalescer = new Coalescer(WINDOW);
    expect(coalescer.oldestRead()).toBe(Number.POSITIVE_INFINITY);
    coalescer.add(change(1), 4, 10);
    // A second addition does not make the first one younger.
    coalescer.add({ ...change(1), userId: 2 }, 5, 20);
    coalescer.add(change(2), 6, 20);
    expect(coalescer.oldestRead()).toBe(4);
    expect(coalescer.take(20, 1)).toEqual({ changes: [{ ...change(1), userId: 2 }], read: 4 });
    expect(coalescer.oldestRead()).toBe(6);
    coalescer.clear();
    expect([coalescer.size, coalescer.nextDue()]).toEqual([0, undefined]);
  });

  it('every change is followed by an event within the window, and a quiet history by one at once', () => {
    const addition = fc.tuple(fc.integer({ min: 0, max: 120 }), fc.integer({ min: 1, max: 3 }));
    fc.assert(
      fc.property(fc.array(addition, { maxLength: 80 }), (steps) => {
        let now = 1000;
        const additions = steps.map(([wait, id]) => {
          now += wait;
          return [now, id] as const;
        });
        const taken = play(additions);
        for (const [at, id] of additions) {
          const next = taken.find((it) => it.id === id && it.at >= at);
          expect(next).toBeDefined();
          expect(next!.at - at).toBeLessThanOrEqual(WINDOW);
          const before = taken.findLast((it) => it.id === id && it.at < at);
          if (before === undefined || at - before.at >= WINDOW) expect(next!.at).toBe(at);
        }
        for (const id of [1, 2, 3]) {
          const times = taken.filter((it) => it.id === id).map((it) => it.at);
          // The end of a window is rounded down by an eighth of it at most.
          for (const [i, at] of times.entries()) {
            if (i > 0) expect(at - times[i - 1]!).toBeGreaterThanOrEqual(WINDOW - WINDOW / 8);
          }
        }
      }),
    );
  });
});
