import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Dispatcher, type DispatcherOptions } from '../../src/connections/routing/dispatcher.js';
import { ViewerRegistry } from '../../src/connections/routing/viewers.js';
import type { PermissionKind } from '../../src/connections/tabs/permission-round.js';
import { PermissionCheck } from '../../src/connections/tabs/permissions.js';
import { TabRegistry } from '../../src/connections/tabs/registry.js';
import { Tab } from '../../src/connections/tabs/tab.js';
import type { Credential, Principal } from '../../src/core/events.js';
import { EventId, type Frame } from '../../src/events/frame.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';

const tabFor = (principal: Principal): Tab =>
  new Tab(new PassThrough(), false, principal, new EventId(0), undefined);

const tabOf = (userId: number | undefined, credential: Credential): Tab =>
  tabFor({ userId, sessionId: undefined, isAdmin: false, credential });

async function round(parts: ConstructorParameters<typeof PermissionCheck>[0]): Promise<void> {
  const check = new PermissionCheck(parts);
  check.begin(1);
  await check.step();
}

/** One round over these tabs. @returns those that were closed, and the principals that were asked about */
async function check(tabs: Tab[], isRevoked: (principal: Principal) => boolean) {
  const registry = new TabRegistry();
  for (const tab of tabs) registry.add(tab);
  const closed: Tab[] = [];
  const asked: Principal[] = [];
  await round({
    registry,
    viewers: new ViewerRegistry(),
    source: {
      revoked: async (principals) => {
        asked.push(...principals);
        return new Set(principals.filter(isRevoked));
      },
      accessible: async (questions) => questions.map(({ historyIds }) => new Set(historyIds)),
    },
    close: (tab) => {
      closed.push(tab);
      registry.remove(tab);
    },
    logger: createLogger('silent'),
    clock: systemClock,
  });
  return { closed, asked };
}

describe('permissions of open streams', () => {
  const session: Credential = { kind: 'session', sessionId: 7 };

  it.each(['first', 'last'])(
    "of a session that changed hands at login: nobody's stream ends, the user's goes on (it came %s)",
    async (order) => {
      const [before, after] = [tabOf(undefined, session), tabOf(5, session)];
      const { closed } = await check(order === 'first' ? [after, before] : [before, after], ({ userId }) => {
        return userId !== 5;
      });
      expect(closed).toEqual([before]);
    },
  );

  it('are asked for once per caller, and all tabs of a revoked credential end', async () => {
    const key: Credential = { kind: 'api_key', key: 'secret', userId: 1 };
    const first = tabOf(1, key);
    const tabs = [
      first,
      tabFor(first.principal),
      tabOf(1, { ...key }),
      tabOf(2, { ...key, userId: 2, key: 'other' }),
    ];
    const { closed, asked } = await check(tabs, ({ userId }) => userId === 1);
    expect(asked).toEqual([first.principal, tabs[2]!.principal, tabs[3]!.principal]);
    expect(closed).toEqual(tabs.slice(0, 3));
  });

  it('of one key that acts for several users are looked at apart', async () => {
    const key: Credential = { kind: 'api_key', key: 'secret', userId: 1 };
    const tabs = [tabOf(1, key), tabOf(2, key), tabOf(3, key)];
    const { closed } = await check(tabs, ({ userId }) => userId === 2);
    expect(closed).toEqual([tabs[1]]);
  });

  it('of anonymous visitors are not asked for: there is nothing to revoke', async () => {
    const { asked } = await check([tabOf(undefined, { kind: 'none' })], () => true);
    expect(asked).toEqual([]);
  });
});

describe('a round over many tabs', () => {
  const registry = new TabRegistry();
  const keyOf = (userId: number): Credential => ({ kind: 'api_key', key: `key ${userId}`, userId });
  const open = (userId: number): Tab => {
    const tab = tabOf(userId, keyOf(userId));
    registry.add(tab);
    return tab;
  };
  const tabs = Array.from({ length: 4000 }, (_, i) => open(i));
  let asked: number[] = [];
  let away = false;
  const check = new PermissionCheck({
    registry,
    viewers: new ViewerRegistry(),
    source: {
      revoked: async (principals) => {
        if (away) throw new Error('the database is away');
        asked.push(...principals.map(({ userId }) => userId!));
        return new Set();
      },
      accessible: async (questions) => questions.map(({ historyIds }) => new Set(historyIds)),
    },
    close: () => {},
    logger: createLogger('silent'),
    clock: systemClock,
  });

  it('takes several steps, and misses nobody though tabs close and open meanwhile', async () => {
    check.begin(4);
    await check.step();
    expect(asked).toHaveLength(1000);
    // Their places are taken by tabs from the end.
    for (const tab of tabs.slice(100, 110)) registry.remove(tab);
    open(4001);
    check.begin(4);
    for (let i = 0; i < 3; i += 1) await check.step();
    const stayed = tabs.flatMap((tab, i) => (i < 100 || i >= 110 ? [tab.principal.userId!] : []));
    expect(stayed.filter((userId) => !asked.includes(userId))).toEqual([]);
  });

  it('goes on where it was when the database is back', async () => {
    asked = [];
    check.begin(2);
    await check.step();
    const before = asked.length;
    away = true;
    await check.step();
    expect(asked).toHaveLength(before);
    away = false;
    await check.step();
    expect(new Set(asked).size).toBe(registry.all.length);
  });
});

describe('a question that fails', () => {
  it('keeps neither other tabs nor viewers from being looked at, in this round and in the next ones', async () => {
    const registry = new TabRegistry();
    const viewers = new ViewerRegistry();
    for (let i = 0; i < 5; i += 1) registry.add(tabOf(i, { kind: 'api_key', key: `key ${i}`, userId: i }));
    registry.add(tabOf(9, { kind: 'api_key', key: 'key 1', userId: 1 }));
    registry.add(tabOf(7, { kind: 'session', sessionId: 70 }));
    viewers.subscribe({ userId: 7 }, 700);
    const asked: string[] = [];
    let broken = 'session';
    const check = new PermissionCheck({
      registry,
      viewers,
      source: {
        revoked: async (principals) => {
          const kinds = [...new Set(principals.map(({ credential }) => credential.kind))].join();
          asked.push(`${kinds} ${principals.length}`);
          if (kinds === broken) throw new Error('this table is locked');
          return new Set();
        },
        accessible: async (questions) => {
          asked.push('viewers');
          if (broken === 'viewers') throw new Error('this table is locked');
          return questions.map(() => new Set());
        },
      },
      close: () => {},
      logger: createLogger('silent'),
      clock: systemClock,
    });
    const all = ['api_key 1', 'api_key 5', 'session 1'];
    check.begin(1);
    await check.step();
    expect(asked.splice(0).sort()).toEqual([...all, 'viewers']);
    expect([...viewers.of({ userId: 7 })]).toEqual([]);
    // Only what failed is asked for again,
    await check.step();
    expect(asked.splice(0)).toEqual(['session 1']);
    // and the next round asks for all.
    broken = 'viewers';
    viewers.subscribe({ userId: 7 }, 700);
    check.begin(1);
    await check.step();
    expect(asked.splice(0).sort()).toEqual([...all, 'viewers']);
    broken = '';
    await check.step();
    expect(asked.splice(0)).toEqual(['viewers']);
    await check.step();
    expect(asked).toEqual([]);
  });
});

describe('permissions of viewers', () => {
  it('are a few questions for thousands of callers, each with its own answer', async () => {
    const registry = new TabRegistry();
    const viewers = new ViewerRegistry();
    for (let i = 1; i <= 5000; i += 1) {
      registry.add(tabOf(i, { kind: 'api_key', key: `key ${i}`, userId: i }));
      viewers.subscribe({ userId: i }, 1);
      viewers.subscribe({ userId: i }, 1 + (i % 3));
    }
    let questions = 0;
    await round({
      registry,
      viewers,
      source: {
        revoked: async () => new Set(),
        accessible: async (some) => {
          questions += 1;
          return some.map(({ caller }) => new Set(caller.userId! % 2 === 0 ? [1, 2, 3] : [1]));
        },
      },
      close: () => {},
      logger: createLogger('silent'),
      clock: systemClock,
    });
    expect(questions).toBeLessThanOrEqual(9);
    for (let i = 1; i <= 5000; i += 1) {
      const before = [...new Set([1, 1 + (i % 3)])];
      expect([...viewers.of({ userId: i })]).toEqual(i % 2 === 0 ? before : [1]);
    }
  });

  it('are asked for once per caller, however many tabs look, and only what is hidden is let go', async () => {
    const registry = new TabRegistry();
    const viewers = new ViewerRegistry();
    const tabs = Array.from({ length: 100 }, () => tabOf(undefined, { kind: 'none' }));
    for (const [i, tab] of tabs.entries()) {
      registry.add(tab);
      viewers.subscribe({ tab }, i % 2);
      viewers.subscribe({ tab }, 7);
    }
    const asked: number[][] = [];
    await round({
      registry,
      viewers,
      source: {
        revoked: async () => new Set(),
        accessible: async (questions) =>
          questions.map(({ historyIds }) => {
            asked.push([...historyIds].sort());
            return new Set(historyIds.filter((id) => id !== 7));
          }),
      },
      close: () => {},
      logger: createLogger('silent'),
      clock: systemClock,
    });
    expect(asked).toEqual([[0, 1, 7]]);
    expect(tabs.map((tab) => [...viewers.of({ tab })])).toEqual(tabs.map((_, i) => [i % 2]));
  });
});

describe('what cannot be looked at', () => {
  it('is overdue after a minute, until a whole round went through', async () => {
    let nowMs = 0;
    let away = true;
    const registry = new TabRegistry();
    registry.add(tabOf(1, { kind: 'api_key', key: 'k', userId: 1 }));
    const check = new PermissionCheck({
      registry,
      viewers: new ViewerRegistry(),
      source: {
        revoked: async () => {
          if (away) throw new Error('the database is away');
          return new Set();
        },
        accessible: async (questions) => questions.map(({ historyIds }) => new Set(historyIds)),
      },
      close: () => {},
      logger: createLogger('silent'),
      clock: { monotonic: () => nowMs },
    });
    for (; nowMs <= 60_000; nowMs += 1_000) {
      if (nowMs % 25_000 === 0) check.begin(25);
      await check.step();
      expect(check.overdue).toEqual(new Set());
    }
    nowMs += 1;
    expect(check.overdue).toEqual(new Set(['api_key']));
    away = false;
    check.begin(1);
    await check.step();
    expect(check.overdue).toEqual(new Set());
  });

  it('is overdue by the kind of credential: a table that is locked keeps no other from being looked at in time', async () => {
    let nowMs = 0;
    let away = true;
    const asked: string[] = [];
    const registry = new TabRegistry();
    registry.add(tabOf(1, { kind: 'api_key', key: 'k', userId: 1 }));
    registry.add(tabOf(2, { kind: 'session', sessionId: 7 }));
    const check = new PermissionCheck({
      registry,
      viewers: new ViewerRegistry(),
      source: {
        revoked: (principals) => {
          const kinds = new Set(principals.map(({ credential }) => credential.kind));
          asked.push([...kinds].join());
          // Neither an answer nor an error: who waits for a lock is given up late.
          if (away && kinds.has('session')) return new Promise(() => {});
          return Promise.resolve(new Set());
        },
        accessible: async (questions) => questions.map(({ historyIds }) => new Set(historyIds)),
      },
      close: () => {},
      logger: createLogger('silent'),
      clock: { monotonic: () => nowMs },
    });
    for (; nowMs <= 180_000; nowMs += 1_000) {
      if (nowMs % 25_000 === 0) check.begin(25);
      void check.step();
      await new Promise(setImmediate);
      expect(check.overdue).toEqual(new Set(nowMs > 60_000 ? ['session'] : []));
    }
    expect(asked.filter((kind) => kind === 'api_key')).toHaveLength(8);
    away = false;
  });

  it('is kept from those of its kind alone; everybody else is told', () => {
    const told: Tab[] = [];
    const [registry, viewers] = [new TabRegistry(), new ViewerRegistry()];
    const [byKey, bySession] = [
      tabOf(1, { kind: 'api_key', key: 'k', userId: 1 }),
      tabOf(1, { kind: 'session', sessionId: 7 }),
    ];
    const runAs = tabOf(1, { kind: 'api_key', key: 'k', userId: 2 });
    for (const tab of [byKey, bySession, runAs]) registry.add(tab);
    viewers.subscribe({ tab: bySession }, 3);
    const writer = { put: (tab: Tab) => told.push(tab) };
    const dispatcher = new Dispatcher({ registry, viewers, writer } as unknown as DispatcherOptions);
    const toldWith = (...muted: PermissionKind[]) => {
      told.length = 0;
      dispatcher.muted = new Set(muted);
      dispatcher.toUser(1, [{} as Frame]);
      for (const tab of dispatcher.viewersOf(3)) dispatcher.to(tab, [{} as Frame]);
      return new Set(told);
    };
    expect(toldWith()).toEqual(new Set([byKey, bySession, runAs]));
    expect(toldWith('session')).toEqual(new Set([byKey, runAs]));
    expect(toldWith('api_key', 'run_as')).toEqual(new Set([bySession]));
    expect(toldWith('viewed')).toEqual(new Set([byKey, bySession, runAs]));
    expect([...dispatcher.viewersOf(3)]).toEqual([]);
  });
});
