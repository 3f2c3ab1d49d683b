import { describe, expect, it } from 'vitest';
import { CallerMoments } from '../../src/connections/resume/caller-moments.js';
import { Positions } from '../../src/connections/resume/positions.js';
import { noMetrics } from '../../src/telemetry/metrics.js';

const SECOND = 1_000_000;
const entry = (seconds: number) => ({ moment: seconds * SECOND, position: `log.${seconds}` });

describe('the positions that a worker knows', () => {
  it('answer with the newest that is not newer than the moment', () => {
    const positions = new Positions();
    expect(positions.at(5)).toBeUndefined();
    positions.begin('log', [entry(10), entry(20)]);
    positions.add(30 * SECOND, 'log.30');
    const at = (seconds: number) => positions.at(seconds * SECOND);
    expect([at(9), at(10), at(19), at(20), at(29.9), at(1_000)]).toEqual([
      null,
      'log.10',
      'log.10',
      'log.20',
      'log.20',
      'log.30',
    ]);
  });

  it('keep the first moment of a position that many ticks name', () => {
    const positions = new Positions();
    for (const seconds of [10, 11, 12]) positions.add(seconds * SECOND, 'log.1');
    positions.add(13 * SECOND, 'log.2');
    expect(positions.at(12 * SECOND)).toBe('log.1');
  });

  it('answer with an older one for moments that the clock of the database lived through twice', () => {
    const positions = new Positions();
    positions.begin('log', [entry(10), entry(70)]);
    positions.add(20 * SECOND, 'log.after-the-step');
    expect(positions.at(25 * SECOND)).toBe('log.10');
    // Given out before the step, and asked for after it.
    expect(positions.at(70 * SECOND)).toBe('log.70');
    expect(positions.newest()).toMatchObject(entry(70));
    positions.add(71 * SECOND, 'log.later');
    expect([positions.at(70 * SECOND), positions.at(80 * SECOND)]).toEqual(['log.70', 'log.later']);
  });

  it('know a time before which nothing is stamped that becomes visible later, however long a transaction is open', () => {
    const positions = new Positions();
    expect(positions.floor(50 * SECOND)).toBe(40 * SECOND);
    positions.add(10 * SECOND, 'log.100:100:');
    positions.add(20 * SECOND, 'log.100:120:100');
    positions.add(30 * SECOND, 'log.100:140:100,130');
    positions.add(40 * SECOND, 'log.150:150:');
    const floor = (seconds: number) => positions.floor(seconds * SECOND) / SECOND + 10;
    // 100 did not exist at 10 s; nothing was open at 40 s.
    expect([floor(10), floor(20), floor(39), floor(40), floor(60)]).toEqual([10, 10, 10, 40, 40]);
    expect(floor(5)).toBe(5);
    const attached = new Positions();
    attached.add(20 * SECOND, `log.200;${20 * SECOND};150@${7 * SECOND},180@${12 * SECOND}`);
    expect(attached.floor(25 * SECOND)).toBe(-3 * SECOND);
    const numbered = new Positions();
    numbered.add(20 * SECOND, 'log.7');
    expect(numbered.floor(90 * SECOND)).toBe(80 * SECOND);
  });

  it('forget another log', () => {
    const positions = new Positions();
    positions.begin('log', [entry(10), entry(20)]);
    positions.add(30 * SECOND, 'other.1');
    expect([positions.at(25 * SECOND), positions.at(30 * SECOND)]).toEqual([null, 'other.1']);
  });

  it('forget what was later, where the log is one of an earlier time: its files were put back', () => {
    for (const [late, early] of [
      ['log.20', 'log.15'],
      ['log.5:20:', 'log.5:15:'],
      ['log.20;9;', 'log.15;9;'],
    ] as const) {
      const positions = new Positions();
      expect(positions.add(10 * SECOND, late)).toBe(false);
      // Of a leader that was frozen: old, and true.
      expect(positions.add(9 * SECOND, early)).toBe(false);
      expect(positions.ofId(10 * SECOND)).toBe(late);
      expect(positions.add(30 * SECOND, early)).toBe(true);
      expect([10, 30, 31].map((seconds) => positions.ofId(seconds * SECOND))).toEqual([null, early, early]);
      expect([10, 30].map((seconds) => positions.ofToken(seconds * SECOND))).toEqual([null, early]);
    }
  });

  it('do not know a moment that no leader of this log can have given out', () => {
    const positions = new Positions();
    // Stored once a minute while nothing changes; then nobody led until 1,000.
    positions.begin('log', [entry(10), { moment: 70 * SECOND, position: 'log.10' }, entry(1_000)]);
    const at = [70, 140, 219, 221, 999, 1_000, 1_149, 1_151];
    const known = ['log.10', 'log.10', 'log.10', null, null, 'log.1000', 'log.1000', null];
    expect(at.map((seconds) => positions.ofId(seconds * SECOND))).toEqual(known);
    expect(at.map((seconds) => positions.ofToken(seconds * SECOND))).toEqual(known);
    // Ticks go on.
    for (let seconds = 1_001; seconds < 1_200; seconds += 1) positions.add(seconds * SECOND, 'log.1000');
    expect(positions.ofId(1_151 * SECOND)).toBe('log.1000');
    // A time that somebody else has is something else.
    expect(positions.at(999 * SECOND)).toBe('log.10');
  });

  it('take an id that was given out under another log for what it is, although the clock of this one is behind', () => {
    const positions = new Positions();
    positions.begin('log', [entry(10)]);
    positions.add(50 * SECOND, 'log.10');
    positions.add(30 * SECOND, 'other.1');
    expect([40, 50, 51].map((seconds) => positions.ofId(seconds * SECOND))).toEqual([null, null, 'other.1']);
    // A token names its log.
    expect(positions.at(40 * SECOND)).toBe('other.1');
    const begunLater = new Positions();
    begunLater.begin('other', [entry(10), entry(50), { moment: 30 * SECOND, position: 'other.1' }]);
    expect([40, 51].map((seconds) => begunLater.ofId(seconds * SECOND))).toEqual([null, 'other.1']);
    const notYetRead = new Positions();
    notYetRead.begin('other', [entry(10), entry(50)]);
    expect([notYetRead.newest(), notYetRead.mayBeOfAnotherLog(50 * SECOND)]).toEqual([undefined, true]);
  });

  it('know from the table which moments were given out before the clock was set back, and since when times count', () => {
    const positions = new Positions();
    // A leader had ticked until 100 without a change; then the clock was set back to 60.
    positions.begin('log', [entry(90), { moment: 100 * SECOND, position: 'log.90' }, entry(60), entry(95)]);
    positions.add(99 * SECOND, 'log.99');
    expect(positions.at(98 * SECOND)).toBe('log.90');
    expect(positions.newest()).toMatchObject(entry(90));
    positions.add(101 * SECOND, 'log.101');
    expect([98, 101].map((seconds) => positions.at(seconds * SECOND))).toEqual(['log.90', 'log.101']);
    // What was written after the step, and before a leader looked, has times from about 60 on.
    expect(positions.floor(98 * SECOND)).toBe(20 * SECOND);
    expect(positions.floor(102 * SECOND)).toBe(92 * SECOND);
    // So they may be pruned while the moment itself is young.
    const moments = new CallerMoments({
      positions,
      recentWindowSeconds: 20,
      databaseClock: () => ({ now: () => 110 * SECOND, judge: (cursor) => cursor }),
      metrics: noMetrics,
    });
    expect([98, 102].map((seconds) => moments.isWhole(seconds * SECOND))).toEqual([false, true]);
  });

  it('that are read again after a gap keep what was heard, unless another log was', () => {
    const positions = new Positions();
    positions.begin('log', [entry(10)]);
    positions.add(50 * SECOND, 'log.10');
    positions.beginAgain('log', [entry(10), entry(20)]);
    positions.add(49 * SECOND, 'log.49');
    expect(positions.at(49 * SECOND)).toBe('log.20');
    positions.add(60 * SECOND, 'other.1');
    positions.beginAgain('log', [entry(10), entry(20)]);
    expect(positions.log()).toBe('other');
  });

  it('are bounded, and stay in order when they are thinned', () => {
    const positions = new Positions();
    for (let seconds = 1; seconds <= 10_000; seconds += 1) positions.add(seconds * SECOND, `log.${seconds}`);
    for (const seconds of [9_999, 9_000, 5_000]) {
      const found = Number(positions.at(seconds * SECOND)?.slice(4));
      expect(found).toBeLessThanOrEqual(seconds);
    }
    expect(positions.at(10_000 * SECOND)).toBe('log.10000');
    expect(positions.ofId(5_000 * SECOND)).not.toBeNull();
  });

  it('give steps that are closer the younger they are, from before the moment on', () => {
    const positions = new Positions();
    for (let seconds = 1; seconds <= 1_000; seconds += 2) positions.add(seconds * SECOND, `log.${seconds}`);
    const steps = positions.steps(100 * SECOND, 1_000 * SECOND).map(({ moment }) => moment / SECOND);
    expect(steps[0]).toBe(99);
    expect(steps.at(-1)).toBe(999);
    expect(steps.length).toBeLessThan(10);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
  });
});
