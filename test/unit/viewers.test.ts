import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MOST_VIEWED, type ViewerHolder, ViewerRegistry } from '../../src/connections/routing/viewers.js';
import { Tab } from '../../src/connections/tabs/tab.js';
import { EventId } from '../../src/events/frame.js';

const tab = new Tab(
  new PassThrough(),
  false,
  { userId: undefined, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } },
  new EventId(0),
  undefined,
);
const HOLDERS: ViewerHolder[] = [{ userId: 1 }, { userId: 2 }, { sessionId: 1 }, { tab }];

describe('viewers of a history', () => {
  it('are users, sessions and single tabs, told apart even where the numbers are equal', () => {
    const viewers = new ViewerRegistry();
    for (const holder of HOLDERS) viewers.subscribe(holder, 7);
    expect(viewers.get(7)).toEqual({ users: new Set([1, 2]), sessions: new Set([1]), tabs: new Set([tab]) });
    expect(viewers.get(8)).toBeUndefined();
  });

  it('hold a bounded number of histories each: the oldest goes for one more', () => {
    const viewers = new ViewerRegistry();
    for (let id = 1; id <= MOST_VIEWED + 2; id += 1) viewers.subscribe({ userId: 1 }, id);
    viewers.subscribe({ userId: 2 }, 1);
    const viewed = viewers.of({ userId: 1 });
    expect(viewed.size).toBe(MOST_VIEWED);
    expect([viewed.has(2), viewed.has(3), viewed.has(MOST_VIEWED + 2)]).toEqual([false, true, true]);
    expect(viewers.get(1)?.users).toEqual(new Set([2]));
    viewers.forget({ userId: 1 });
    viewers.forget({ userId: 2 });
    expect(viewers.size).toBe(0);
  });

  it('are few enough together: whoever has more than its share gives way, and nobody with a handful', () => {
    const most = 1_000;
    const viewers = new ViewerRegistry(most);
    const quiet = [900_001, 900_002, 900_003];
    for (const id of quiet) viewers.subscribe({ userId: 999 }, id);
    for (let id = 1; id <= 300; id += 1) {
      for (let userId = 1; userId <= 50; userId += 1) viewers.subscribe({ userId }, userId * 1_000 + id);
    }
    expect(viewers.size).toBeLessThan(2 * most);
    expect([...viewers.of({ userId: 999 })]).toEqual(quiet);
    expect(viewers.subscribe({ userId: 999 }, 900_004)).toBe(true);
    expect(viewers.of({ userId: 999 }).size).toBe(4);
    for (let userId = 1; userId <= 50; userId += 1)
      expect(viewers.of({ userId }).has(userId * 1_000 + 300)).toBe(true);
  });

  it('subscribe once, however often they say so', () => {
    const viewers = new ViewerRegistry();
    expect(viewers.subscribe({ userId: 1 }, 7)).toBe(true);
    expect(viewers.subscribe({ userId: 1 }, 7)).toBe(false);
    viewers.unsubscribe({ userId: 1 }, 7);
    expect(viewers.size).toBe(0);
    viewers.unsubscribe({ userId: 1 }, 7);
  });

  it('leave nothing behind, whatever is subscribed, unsubscribed and forgotten', () => {
    const step = fc.record({
      holder: fc.integer({ min: 0, max: HOLDERS.length - 1 }),
      history: fc.integer({ min: 1, max: 3 }),
      what: fc.constantFrom('subscribe', 'unsubscribe', 'forget'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const viewers = new ViewerRegistry();
        const model = HOLDERS.map(() => new Set<number>());
        for (const { holder, history, what } of steps) {
          if (what === 'subscribe') {
            viewers.subscribe(HOLDERS[holder]!, history);
            model[holder]!.add(history);
          } else if (what === 'unsubscribe') {
            viewers.unsubscribe(HOLDERS[holder]!, history);
            model[holder]!.delete(history);
          } else {
            viewers.forget(HOLDERS[holder]!);
            model[holder]!.clear();
          }
          for (const [i, expected] of model.entries()) expect(viewers.of(HOLDERS[i]!)).toEqual(expected);
          expect(viewers.size).toBe(new Set(model.flatMap((ids) => [...ids])).size);
        }
      }),
    );
  });
});
