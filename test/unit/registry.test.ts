import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TabRegistry } from '../../src/connections/tabs/registry.js';
import { Tab } from '../../src/connections/tabs/tab.js';
import { EventId } from '../../src/events/frame.js';

const out = new PassThrough();
const eventId = new EventId(0);
const tabOf = (userId: number | undefined, sessionId: number | undefined): Tab =>
  new Tab(
    out,
    false,
    { userId, sessionId, isAdmin: false, credential: { kind: 'none' } },
    eventId,
    undefined,
  );

const ofUser = (registry: TabRegistry, userId: number): Tab[] => {
  const tabs: Tab[] = [];
  for (let tab = registry.firstOfUser(userId); tab; tab = tab.nextOfUser) tabs.push(tab);
  return tabs;
};
const ofSession = (registry: TabRegistry, sessionId: number): Tab[] => {
  const tabs: Tab[] = [];
  for (let tab = registry.firstOfSession(sessionId); tab; tab = tab.nextOfSession) tabs.push(tab);
  return tabs;
};

describe('open tabs', () => {
  it('are found by user and by session; a signed-in browser by both', () => {
    const registry = new TabRegistry();
    const [browser, script, anonymous, nobody] = [
      tabOf(1, 10),
      tabOf(1, undefined),
      tabOf(undefined, 11),
      tabOf(undefined, undefined),
    ];
    for (const tab of [browser, script, anonymous, nobody]) registry.add(tab!);
    expect(new Set(ofUser(registry, 1))).toEqual(new Set([browser, script]));
    expect(ofSession(registry, 10)).toEqual([browser]);
    expect(ofSession(registry, 11)).toEqual([anonymous]);
    expect(registry.all).toHaveLength(4);
    expect(registry.userTabCount).toBe(2);
    expect(registry.countOfUser(1)).toBe(2);
  });

  it('may be closed twice', () => {
    const registry = new TabRegistry();
    const tab = tabOf(1, 1);
    registry.add(tab);
    expect(registry.remove(tab)).toBe(true);
    expect(registry.remove(tab)).toBe(false);
    expect([registry.userCount, registry.sessionCount, registry.userTabCount]).toEqual([0, 0, 0]);
  });

  it('are all found, and no other, whatever opens and closes in whatever order', () => {
    const step = fc.oneof(
      fc.record({
        userId: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
        sessionId: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      }),
      fc.nat(),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const registry = new TabRegistry();
        const open: Tab[] = [];
        for (const it of steps) {
          if (typeof it !== 'number') {
            const tab = tabOf(it.userId, it.sessionId);
            registry.add(tab);
            open.push(tab);
          } else if (open.length > 0) {
            registry.remove(open.splice(it % open.length, 1)[0]!);
          }
          expect(new Set(registry.all)).toEqual(new Set(open));
          expect(registry.all.every((tab, i) => tab.index === i)).toBe(true);
          for (const id of [1, 2, 3]) {
            const own = open.filter((tab) => tab.principal.userId === id);
            expect(new Set(ofUser(registry, id))).toEqual(new Set(own));
            expect(registry.countOfUser(id)).toBe(own.length);
            expect(new Set(ofSession(registry, id))).toEqual(
              new Set(open.filter((tab) => tab.principal.sessionId === id)),
            );
          }
          expect(registry.userTabCount).toBe(open.filter((tab) => tab.principal.userId !== undefined).length);
        }
      }),
    );
  });
});
