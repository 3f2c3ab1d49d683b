import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { onEachBeat, untilBeat } from '../../src/core/beat.js';
import { systemClock } from '../../src/core/clock.js';

const at = (ms: number) => ({ now: () => 0, monotonic: () => ms });

describe('the beat', () => {
  it('is at whole multiples of the period, never closer than half of one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), fc.constantFrom(500, 1000), (now, period) => {
        const wait = untilBeat(period, at(now));
        expect((now + wait) % period).toBe(0);
        expect(wait).toBeGreaterThanOrEqual(period / 2);
        expect(wait).toBeLessThanOrEqual(1.5 * period);
      }),
    );
  });

  it('does not come twice when a timer fires a little early', () => {
    expect(untilBeat(1000, at(6999.2))).toBeCloseTo(1000.8);
    expect(untilBeat(1000, at(7000))).toBe(1000);
    expect(untilBeat(1000, at(7003))).toBe(997);
  });

  it('is the same for all who work on it, until they end', async () => {
    const moments: number[][] = [[], []];
    const ends = moments.map((list) => onEachBeat(40, systemClock, () => list.push(performance.now())));
    await vi.waitFor(() => expect(moments.every((list) => list.length >= 5)).toBe(true), { timeout: 5_000 });
    for (const end of ends) end();
    const counts = moments.map((list) => list.length);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(moments.map((list) => list.length)).toEqual(counts);
    expect(Math.abs(counts[0]! - counts[1]!)).toBeLessThanOrEqual(1);
  });
});
