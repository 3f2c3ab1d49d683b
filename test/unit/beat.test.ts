import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { msUntilAligned, setAlignedInterval } from '../../src/lib/aligned-interval.js';

const at = (ms: number) => ({ now: () => 0, monotonic: () => ms });

describe('the beat', () => {
  it('is at whole multiples of the period, never closer than half of one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), fc.constantFrom(500, 1000), (now, period) => {
        const wait = msUntilAligned(period, at(now));
        expect((now + wait) % period).toBe(0);
        expect(wait).toBeGreaterThanOrEqual(period / 2);
        expect(wait).toBeLessThanOrEqual(1.5 * period);
      }),
    );
  });

  it('does not come twice when a timer fires a little early', () => {
    expect(msUntilAligned(1000, at(6999.2))).toBeCloseTo(1000.8);
    expect(msUntilAligned(1000, at(7000))).toBe(1000);
    expect(msUntilAligned(1000, at(7003))).toBe(997);
  });

  it('is the same for all who work on it, whenever they began, until they end', () => {
    vi.useFakeTimers({ now: 0 });
    try {
      const clock = { now: () => Date.now(), monotonic: () => Date.now() };
      const moments: number[][] = [[], []];
      const begin = (list: number[]) => setAlignedInterval(40, clock, () => list.push(clock.monotonic()));
      vi.advanceTimersByTime(100);
      const first = begin(moments[0]!);
      vi.advanceTimersByTime(15);
      const second = begin(moments[1]!);
      vi.advanceTimersByTime(200);
      first();
      second();
      vi.advanceTimersByTime(200);
      const expected = [160, 200, 240, 280];
      expect(moments).toEqual([expected, expected]);
    } finally {
      vi.useRealTimers();
    }
  });
});
