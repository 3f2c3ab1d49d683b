import { beforeEach, describe, expect, it } from 'vitest';
import { Candidacy } from '../../src/election/candidacy.js';

let now: number;
let candidacy: Candidacy;
beforeEach(() => {
  now = 1_000;
  candidacy = new Candidacy({ monotonic: () => now }, () => 0.5);
});
/** For how long it waits from now on, to a tenth of a second. */
function waits(): number {
  const begin = now;
  while (candidacy.state !== 'open') now += 100;
  const ms = now - begin;
  now = begin;
  return ms;
}

describe('a candidate', () => {
  it('may try at first, and after a stop or a lost lock', () => {
    expect(candidacy.state).toBe('open');
    for (const end of ['stopped', 'lock lost'] as const) {
      candidacy.tenureEnded(end, true);
      expect(candidacy.state).toBe('open');
    }
  });

  it.each(['unconfirmed', 'failed'] as const)(
    'whose tenure was %s rests, longer each time, until one works',
    (end) => {
      const rests = [1, 2, 3, 4, 5].map(() => {
        candidacy.tenureEnded(end, false);
        expect(candidacy.state).toBe('resting');
        return waits();
      });
      expect(rests).toEqual(rests.toSorted((a, b) => a - b));
      expect(rests[0]).toBeLessThanOrEqual(5_000);
      expect(rests.at(-1)).toBeGreaterThan(rests[0]!);
      expect(rests.at(-1)).toBeLessThanOrEqual(30_000);
      candidacy.tenureEnded(end, true);
      expect(waits()).toBeLessThanOrEqual(5_000);
    },
  );

  it('may try at once when what hindered it is over', () => {
    candidacy.tenureEnded('unconfirmed', false);
    candidacy.unhindered();
    expect(candidacy.state).toBe('open');
  });

  it('that stepped down waits 3 s, and does not step down again for 5 minutes when nobody came', () => {
    expect(candidacy.mayYield).toBe(true);
    candidacy.tenureEnded('handed over', true);
    expect([candidacy.state, waits(), candidacy.mayYield]).toEqual(['yielded', 3_000, false]);
    now += 299_000;
    expect(candidacy.mayYield).toBe(false);
    now += 1_000;
    expect(candidacy.mayYield).toBe(true);
  });

  it('that stepped down may do so again when the other one came', () => {
    candidacy.tenureEnded('handed over', true);
    candidacy.lockSeen(true);
    expect(candidacy.mayYield).toBe(true);
  });

  it('knows for how long the lock has been free', () => {
    expect([candidacy.isLockFree, candidacy.freeMs]).toEqual([false, 0]);
    candidacy.lockSeen(false);
    now += 700;
    candidacy.lockSeen(false);
    expect([candidacy.isLockFree, candidacy.freeMs]).toEqual([true, 700]);
    candidacy.lockTaken();
    expect(candidacy.freeMs).toBe(0);
  });
});
