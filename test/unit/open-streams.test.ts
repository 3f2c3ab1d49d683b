import { describe, expect, it } from 'vitest';
import {
  compareStreams,
  countWaiting,
  listStreams,
  Refusals,
} from '../../src/connections/tabs/open-streams.js';
import type { Tab } from '../../src/connections/tabs/tab.js';

const tab = (id: number, change: Partial<Tab> = {}): Tab =>
  ({
    id,
    openedAt: 1000 + Math.floor(id / 3),
    principal: { userId: id % 10 },
    from: `10.0.0.${id % 7}`,
    state: 'live',
    queue: undefined,
    ...change,
  }) as Tab;
/** In no order, as the registry has them. */
const tabs = Array.from({ length: 1000 }, (_, index) => tab(((index * 7) % 1000) + 1));

describe('the list of open streams', () => {
  it('tells every stream once, newest first, a page at a time', () => {
    const seen: number[] = [];
    for (let after: { openedAt: number; process: string; id: number } | undefined; ; ) {
      const { total, streams } = listStreams(tabs, 'p', { limit: 37, ...(after && { after }) });
      expect(total).toBe(1000);
      if (streams.length === 0) break;
      seen.push(...streams.map(({ id }) => id));
      after = { ...streams.at(-1)!, process: 'p' };
    }
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, index) => 1000 - index));
  });

  it('goes on at the same place over several processes', () => {
    const all = ['a', 'b'].flatMap((process) => tabs.map(({ id, openedAt }) => ({ id, openedAt, process })));
    all.sort(compareStreams);
    const seen: string[] = [];
    for (let after: (typeof all)[number] | undefined; ; ) {
      const page = ['a', 'b']
        .flatMap((process) =>
          listStreams(tabs, process, { limit: 50, ...(after && { after }) }).streams.map((it) => ({
            ...it,
            process,
          })),
        )
        .sort(compareStreams)
        .slice(0, 50);
      if (page.length === 0) break;
      seen.push(...page.map(({ process, id }) => `${process}${id}`));
      after = page.at(-1);
    }
    expect(seen).toEqual(all.map(({ process, id }) => `${process}${id}`));
  });

  it('shows those of a user, an address, a state', () => {
    const some = [...tabs, tab(2000, { state: 'blocked', queue: { size: 4 } as Tab['queue'] })];
    expect(listStreams(some, 'p', { limit: 10, userId: 3 }).total).toBe(100);
    expect(listStreams(some, 'p', { limit: 10, address: '10.0.0.5' }).total).toBe(144);
    const { streams } = listStreams(some, 'p', { limit: 10, state: 'blocked' });
    expect(streams).toMatchObject([{ id: 2000, state: 'blocked', waiting: 4 }]);
    expect(countWaiting(some)).toEqual({ waiting: 4, blocked: 1 });
  });

  it('of 100,000 streams costs a worker a few milliseconds', () => {
    const many = Array.from({ length: 100_000 }, (_, index) => tab(((index * 7) % 100_000) + 1));
    listStreams(many, 'p', { limit: 50 });
    const before = process.cpuUsage();
    for (let round = 0; round < 5; round += 1) listStreams(many, 'p', { limit: 50, address: '10.' });
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000 / 5).toBeLessThan(50);
  });
});

describe('refusals', () => {
  it('are told once, the newest where there were too many', () => {
    const refusals = new Refusals(3);
    for (let at = 1; at <= 5; at += 1) refusals.note({ at, reason: 'X', address: 'a' });
    expect(refusals.take().map(({ at }) => at)).toEqual([3, 4, 5]);
    expect(refusals.take()).toEqual([]);
  });
});
