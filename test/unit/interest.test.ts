import { describe, expect, it } from 'vitest';
import { Interest } from '../../src/connections/interest.js';
import { TabRegistry } from '../../src/connections/registry.js';
import type { Tab } from '../../src/connections/tab.js';
import { ViewerRegistry } from '../../src/connections/viewers.js';
import type { Principal } from '../../src/core/events.js';
import { type Bucket, bucketsOf, historyBucket, ownerBucket } from '../../src/core/interest.js';
import { createLogger } from '../../src/telemetry/logger.js';

const somebody = (userId?: number, sessionId?: number): Principal => ({
  userId,
  sessionId,
  isAdmin: false,
  credential: { kind: 'none' },
});
const alice = somebody(7);

/** A bus and a clock that answer when the test says so. */
function stage() {
  const bound: { buckets: readonly Bucket[]; answer: (received: boolean) => Promise<void> }[] = [];
  const unbound: Bucket[] = [];
  const reads: { answer: (now: number) => Promise<void>; fail: () => Promise<void> }[] = [];
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const registry = new TabRegistry();
  const viewers = new ViewerRegistry();
  const interest = new Interest({
    bus: {
      bind: (buckets) =>
        new Promise((resolve) => {
          bound.push({
            buckets,
            answer: (received) => {
              resolve(received);
              return turn();
            },
          });
        }),
      unbind: (buckets) => unbound.push(...buckets),
    },
    now: () =>
      new Promise((resolve, reject) => {
        reads.push({
          answer: (now) => {
            resolve(now);
            return turn();
          },
          fail: () => {
            reject(new Error('away'));
            return turn();
          },
        });
      }),
    registry,
    viewers,
    logger: createLogger('silent'),
  });
  return { interest, bound, unbound, reads, registry, viewers, turn };
}

const tabOf = (principal: Principal): Tab => ({ principal, index: -1 }) as unknown as Tab;

describe('the buckets of a task', () => {
  it('are those of its owners and, for viewers, of its histories', () => {
    expect(
      bucketsOf({
        task: 'history_update',
        userUpdates: new Map([[263, [1000, 1001]]]),
        sessionUpdates: new Map([[5, [1000]]]),
      }),
    ).toEqual(new Set([7, 256 + 232, 256 + 233, 5]));
    expect(bucketsOf({ task: 'notify_users', userIds: [1, 257, 2], payload: '' })).toEqual(new Set([1, 2]));
    expect(bucketsOf({ task: 'entry_point_update', userId: 7, sessionId: 901 })).toEqual(new Set([7, 133]));
  });

  it('are not asked for where every worker must hear of it', () => {
    expect(bucketsOf({ task: 'notify_broadcast', payload: '' })).toBeUndefined();
    expect(bucketsOf({ task: 'reconfigure_watcher' })).toBeUndefined();
    expect(bucketsOf({ task: 'subscribe_history_viewer', historyId: 'f', userId: 7 })).toBeUndefined();
  });
});

describe('a worker with interest routing', () => {
  it('lets a tab wait for its buckets, the next one of the same user with it, and later ones not at all', async () => {
    const { interest, bound, turn } = stage();
    const began: string[] = [];
    void interest.attend(somebody(7, 901), [42])!.then(() => began.push('first'));
    void interest.attend(alice, [])!.then(() => began.push('second'));
    expect(bound.map(({ buckets }) => [...buckets].sort())).toEqual([
      [ownerBucket(7), ownerBucket(901), historyBucket(42)].sort(),
    ]);
    await turn();
    expect(began).toEqual([]);
    await bound[0]!.answer(true);
    expect(began).toEqual(['first', 'second']);
    expect(interest.attend(alice, [42])).toBeUndefined();
    expect(interest.attend(somebody(), [])).toBeUndefined();
    expect(bound).toHaveLength(1);
  });

  it('answers from memory only from the database time on that was read after the binding', async () => {
    const { interest, bound, reads } = stage();
    void interest.attend(alice, []);
    expect(reads).toHaveLength(0);
    await bound[0]!.answer(true);
    expect(interest.covers(alice, [], Number.MAX_SAFE_INTEGER)).toBe(false);
    // Bound while that read is under way: it needs a later one.
    void interest.attend(alice, [42]);
    await bound[1]!.answer(true);
    expect(reads).toHaveLength(1);
    await reads[0]!.answer(1000);
    expect([interest.covers(alice, [], 999), interest.covers(alice, [], 1000)]).toEqual([false, true]);
    expect(interest.covers(alice, [42], 5000)).toBe(false);
    expect(reads).toHaveLength(2);
    await reads[1]!.answer(2000);
    expect([interest.covers(alice, [42], 1999), interest.covers(alice, [42], 2000)]).toEqual([false, true]);
    expect([interest.coversHistory(42, 1999), interest.coversHistory(42, 2000)]).toEqual([false, true]);
  });

  it('asks for the time again at the next sweep when the database was away', async () => {
    const { interest, bound, reads, registry } = stage();
    void interest.attend(alice, []);
    registry.add(tabOf(alice));
    await bound[0]!.answer(true);
    await reads[0]!.fail();
    expect(reads).toHaveLength(1);
    interest.sweep();
    await reads[1]!.answer(1000);
    expect(interest.covers(alice, [], 1000)).toBe(true);
  });

  it('lets tabs begin while the bus is away, and covers them from its return on', async () => {
    const { interest, bound, reads } = stage();
    const began = interest.attend(alice, [])!;
    await bound[0]!.answer(false);
    await began;
    expect(interest.attend(alice, [])).toBeUndefined();
    expect(reads).toHaveLength(0);
    interest.reconnected();
    await reads[0]!.answer(3000);
    expect(interest.covers(alice, [], 3000)).toBe(true);
    interest.reconnected();
    expect(reads).toHaveLength(1);
  });

  it('keeps buckets of open tabs and of viewed histories, and gives up others at the second sweep', async () => {
    const { interest, bound, unbound, reads, registry, viewers } = stage();
    const stays = tabOf(somebody(8));
    registry.add(stays);
    void interest.attend(alice, []);
    void interest.attend(stays.principal, [42]);
    viewers.subscribe({ tab: stays }, 42);
    for (const { answer } of bound) await answer(true);
    for (let i = 0; i < reads.length; i += 1) await reads[i]!.answer(1000);
    interest.sweep();
    expect(unbound).toEqual([]);
    interest.sweep();
    expect(unbound).toEqual([ownerBucket(7)]);
    expect(interest.covers(stays.principal, [42], 1000)).toBe(true);
    expect(interest.covers(alice, [], 1000)).toBe(false);
    expect(interest.attend(alice, [])).toBeDefined();
  });

  it('does not give up a bucket that was asked for between two sweeps', async () => {
    const { interest, bound, unbound } = stage();
    void interest.attend(alice, []);
    await bound[0]!.answer(true);
    interest.sweep();
    void interest.attend(alice, []);
    interest.sweep();
    expect(unbound).toEqual([]);
  });

  it('does not give up a bucket of a tab that still waits for another one', async () => {
    const { interest, bound, unbound } = stage();
    void interest.attend(alice, []);
    await bound[0]!.answer(true);
    const began = interest.attend(alice, [42])!;
    for (let i = 0; i < 3; i += 1) interest.sweep();
    expect(unbound).toEqual([]);
    await bound[1]!.answer(true);
    await began;
    interest.sweep();
    expect(unbound).toEqual([]);
  });

  it('does not take a time that was asked for before the bucket was given up and bound again', async () => {
    const { interest, bound, reads } = stage();
    void interest.attend(alice, []);
    await bound[0]!.answer(true);
    interest.sweep();
    interest.sweep();
    void interest.attend(alice, []);
    await bound[1]!.answer(true);
    await reads[0]!.answer(1000);
    expect(interest.covers(alice, [], 1000)).toBe(false);
    await reads[1]!.answer(2000);
    expect(interest.covers(alice, [], 2000)).toBe(true);
  });
});
