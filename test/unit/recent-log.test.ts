import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RecentChanges, RecentLog } from '../../src/connections/resume/recent-log.js';

/** A subject that is no history. */
const ENTRY_POINTS = 0;

const collect = (
  log: RecentLog,
  owner: { userId?: number; sessionId?: number },
  since: number,
): RecentChanges => {
  const found: RecentChanges = { subjects: new Set(), updateTime: 0 };
  log.collect(owner, since, found);
  return found;
};
/** Of histories. */
const ids = (log: RecentLog, userId: number, since: number): number[] =>
  [...collect(log, { userId }, since).subjects].filter((subject) => subject > 0);
/** The rule of a catch-up: only then may the memory answer. */
const covers = (log: RecentLog, since: number): boolean => since >= log.coveredSince;

describe('the recent log', () => {
  it('covers nothing before it was told from when on it is whole', () => {
    const log = new RecentLog(8, 1000);
    expect(covers(log, 1e15)).toBe(false);
    log.startCovering(100, 0);
    expect(covers(log, 99)).toBe(false);
    expect(covers(log, 100)).toBe(true);
  });

  it('answers per user and per session, from a moment on', () => {
    const log = new RecentLog(8, 1000);
    log.recordUser(1, 11, 100, 90);
    log.recordSession(1, 12, 110, 105);
    log.recordUser(1, 13, 120, 119);
    log.recordUser(2, 14, 120, 121);
    log.recordUser(1, ENTRY_POINTS, 130, 0);
    expect(collect(log, { userId: 1 }, 100)).toEqual({
      subjects: new Set([11, 13, ENTRY_POINTS]),
      updateTime: 119,
    });
    expect(ids(log, 1, 101)).toEqual([13]);
    expect(collect(log, { sessionId: 1 }, 0)).toEqual({
      subjects: new Set([12]),
      updateTime: 105,
    });
    expect(collect(log, { userId: 1, sessionId: 1 }, 0).subjects).toEqual(
      new Set([13, 11, 12, ENTRY_POINTS]),
    );
    expect(log.lastDelivery(14)).toBe(120);
    expect(log.lastDelivery(15)).toBeUndefined();
  });

  it('forgets the oldest when it is full, and no longer claims to cover that moment', () => {
    const log = new RecentLog(2, 1000);
    log.startCovering(0, 0);
    log.recordUser(1, 11, 100, 0);
    log.recordUser(1, 12, 100, 0);
    log.recordUser(1, 13, 200, 0);
    expect(log.size).toBe(2);
    expect(log.lastDelivery(11)).toBeUndefined();
    // 12 is still there, 11 of the same moment is not: a tab that asks from then on must not be answered from here.
    expect(covers(log, 100)).toBe(false);
    expect(covers(log, 101)).toBe(true);
  });

  it('forgets what is older than its window', () => {
    const log = new RecentLog(8, 1000);
    log.startCovering(0, 0);
    log.recordUser(1, 11, 100, 0);
    log.recordUser(1, 12, 600, 0);
    log.expire(1500);
    expect(ids(log, 1, 0)).toEqual([12]);
    expect(covers(log, 499)).toBe(false);
    expect(covers(log, 500)).toBe(true);
  });

  it('never misses what a list of everything would find, where it says that it covers', () => {
    const entry = fc.record({
      session: fc.boolean(),
      owner: fc.integer({ min: 1, max: 3 }),
      /** 0 stands for entry points. */
      history: fc.integer({ min: 0, max: 5 }),
      step: fc.integer({ min: -3, max: 10 }),
      expire: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 60 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 200 }),
        (entries, capacity, since) => {
          const log = new RecentLog(capacity, 50);
          log.startCovering(0, 0);
          const all: { key: string; history: number; at: number }[] = [];
          let now = 10;
          for (const { session, owner, history, step, expire } of entries) {
            now = Math.max(0, now + step);
            if (session) log.recordSession(owner, history, now, now);
            else log.recordUser(owner, history, now, now);
            all.push({ key: `${session}${owner}`, history, at: now });
            if (expire) log.expire(now);
          }
          if (!covers(log, since)) return;
          for (const session of [true, false]) {
            for (const owner of [1, 2, 3]) {
              const found = collect(log, session ? { sessionId: owner } : { userId: owner }, since);
              const expected = all.filter((it) => it.key === `${session}${owner}` && it.at >= since);
              for (const { history } of expected) {
                expect(found.subjects.has(history)).toBe(true);
              }
              // It may say more (a time is never taken to be earlier than the one before), but nothing that is made up.
              const known = new Set(
                all.filter((it) => it.key === `${session}${owner}`).map((it) => it.history),
              );
              for (const history of found.subjects) expect(known.has(history)).toBe(true);
            }
          }
          for (const { history, at } of all) {
            if (history !== 0 && at >= since) expect(log.lastDelivery(history)).toBeGreaterThanOrEqual(at);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
