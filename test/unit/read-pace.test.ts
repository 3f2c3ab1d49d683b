/** The rest between two reads of the log. */
import { expect, it } from 'vitest';
import { gapAt } from '../../src/monitor/log-reader.js';

it('is short up to 280 changes a second, and never jumps: a rate that wavers does not make changes late now and then', () => {
  expect([0, 1, 200, 280].map((rate) => gapAt(rate))).toEqual([3, 3, 3, 3]);
  expect([360, 1_000, 6_000].map((rate) => gapAt(rate))).toEqual([20, 20, 20]);
  expect([12_000, 100_000].map((rate) => gapAt(rate))).toEqual([200, 200]);
  for (let rate = 1; rate < 20_000; rate *= 1.01) {
    const step = gapAt(rate * 1.01) - gapAt(rate);
    expect(step).toBeGreaterThanOrEqual(0);
    expect(step).toBeLessThan(4);
  }
});

it('does not grow for a burst of writers that were held up', () => {
  expect(gapAt(20_000, 5_000)).toBe(20);
});
