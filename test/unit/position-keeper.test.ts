import { beforeEach, describe, expect, it } from 'vitest';
import type { LogEnd } from '../../src/database/port.js';
import { FURTHEST_AHEAD, PositionKeeper } from '../../src/monitor/position-keeper.js';
import { createLogger } from '../../src/telemetry/logger.js';

const SECOND = 1_000_000;
const NOW = Date.UTC(2026, 6, 1) * 1_000;
const at = (seconds: number, position = 'log.1'): LogEnd => ({ position, moment: NOW + seconds * SECOND });

describe('the keeper of positions', () => {
  let stored: LogEnd[];
  let isAway: boolean;
  let keeper: PositionKeeper;
  beforeEach(() => {
    stored = [];
    isAway = false;
    keeper = new PositionKeeper(
      {
        add: async (entry) => {
          if (isAway) throw new Error('no database');
          stored.push(entry);
        },
      },
      createLogger('silent'),
    );
  });

  it('stores the first position, and allows no tick before it is stored', async () => {
    expect(keeper.tickMoment(at(0))).toBeUndefined();
    isAway = true;
    await keeper.store(at(0), undefined, false);
    expect([keeper.stored, keeper.tickMoment(at(0))]).toEqual([undefined, undefined]);
    isAway = false;
    await keeper.store(at(0), undefined, false);
    expect([stored, keeper.tickMoment(at(1))]).toEqual([[at(0)], NOW + SECOND]);
  });

  it('stores again after changes, or after a minute without', async () => {
    await keeper.store(at(0), undefined, false);
    await keeper.store(at(2, 'log.2'), undefined, false);
    expect(stored.length).toBe(1);
    keeper.onChanges();
    await keeper.store(at(4, 'log.3'), undefined, false);
    await keeper.store(at(63, 'log.3'), undefined, false);
    await keeper.store(at(64, 'log.3'), undefined, false);
    expect(stored).toEqual([at(0), at(4, 'log.3'), at(64, 'log.3')]);
  });

  it('stores the next one too where changes behind it are known already', async () => {
    await keeper.store(at(0), undefined, true);
    await keeper.store(at(2, 'log.2'), undefined, false);
    await keeper.store(at(4, 'log.3'), undefined, false);
    expect(stored).toEqual([at(0), at(2, 'log.2')]);
  });

  it('tries again where storing failed', async () => {
    await keeper.store(at(0), undefined, false);
    keeper.onChanges();
    isAway = true;
    await keeper.store(at(2, 'log.2'), undefined, false);
    isAway = false;
    await keeper.store(at(4, 'log.2'), undefined, false);
    expect(stored).toEqual([at(0), at(4, 'log.2')]);
  });

  it('lets no tick run further ahead than a successor assumes', async () => {
    await keeper.store(at(0), undefined, false);
    expect(keeper.tickMoment(at(3_600))).toBe(NOW + FURTHEST_AHEAD);
  });

  it('stores first the latest moment that was ticked where the clock of the database was set back', async () => {
    await keeper.store(at(0), undefined, false);
    keeper.tickMoment(at(50));
    await keeper.store(at(20, 'log.2'), undefined, false);
    expect(stored.slice(1)).toEqual([at(50), at(20, 'log.2')]);
  });

  it('stores what the leader before may have ticked where the clock was set back between them', async () => {
    await keeper.store(at(0, 'log.2'), at(10), false);
    expect(stored).toEqual([
      { position: 'log.1', moment: NOW + 10 * SECOND + FURTHEST_AHEAD },
      at(0, 'log.2'),
    ]);
  });
});
