import { describe, expect, it } from 'vitest';
import type { DatabaseClock } from '../../src/connections/resume/database-clock.js';
import { GapRepair } from '../../src/connections/resume/gap-repair.js';
import type { Watermark } from '../../src/connections/resume/watermark.js';
import type { Dispatcher } from '../../src/connections/routing/dispatcher.js';
import { LightconeError } from '../../src/core/errors.js';
import type { ChangeLog, NotificationLog } from '../../src/database/port.js';
import { EventId } from '../../src/events/frame.js';
import { EVENTS } from '../../src/events/registry.js';
import { systemClock } from '../../src/lib/clock.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { SkippedRows } from '../../src/telemetry/skipped-rows.js';
import { eventually } from '../support/eventually.js';

const away = new LightconeError('DATABASE_UNAVAILABLE', 'away');
const broken = new LightconeError('DATABASE_SCHEMA', 'permission denied for table notification');

const NAMES: Record<string, string> = {
  history_update: 'histories',
  entry_point_update: 'entry points',
  notify_users: 'notifications',
  notify_broadcast: 'broadcasts',
};

/** A worker whose parts can be read or not, as `failing` says. */
function stage(failing: Map<string, Error>) {
  const told: string[] = [];
  let held = 0;
  let refused: string | undefined;
  const metrics = new CountingMetrics();
  const read = async <T>(part: string, answer: T): Promise<T> => {
    const error = failing.get(part);
    if (error) throw error;
    return answer;
  };
  const repair = new GapRepair({
    positions: { floor: (moment) => moment - 10_000_000 },
    readPositions: async () => {},
    kinds: EVENTS,
    sources: {
      changeLog: {
        changesSince: () => read('histories', [{ historyId: 1, userId: 1, sessionIds: [], newest: 5 }]),
        entryPointOwnersSince: () => read('entry points', { userIds: [1], sessionIds: [] }),
      } as unknown as ChangeLog,
      notifications: {
        notificationsSince: () =>
          read('notifications', [{ payload: '{}', publicationTime: 1, userIds: [1] }]),
        broadcastsSince: () => read('broadcasts', [{ payload: '{}', publicationTime: 1, userIds: [] }]),
      } as unknown as NotificationLog,
    },
    dispatcher: {
      run: ({ task }) => {
        if (NAMES[task] === refused) throw new TypeError('a bug');
        told.push(NAMES[task]!);
      },
    } as Dispatcher,
    watermark: {
      cursor: 10,
      eventId: new EventId(10),
      hold: () => {
        held += 1;
        return () => {
          held -= 1;
        };
      },
    } as unknown as Watermark,
    databaseClock: { check: async () => {} } as unknown as DatabaseClock,
    skippedRows: new SkippedRows({ logger: createLogger('silent'), clock: systemClock, metrics }),
    logger: createLogger('silent'),
    metrics,
  });
  return { repair, told, metrics, isHeld: () => held > 0, refuse: (part: string) => (refused = part) };
}

describe('a gap', () => {
  it.each([
    ['histories', ['entry points', 'notifications', 'broadcasts']],
    ['entry points', ['histories', 'notifications', 'broadcasts']],
    ['notifications', ['histories', 'entry points', 'broadcasts']],
    ['broadcasts', ['histories', 'entry points', 'notifications']],
  ])(
    'of which the %s cannot be read now: the rest is told at once and once, the ids wait',
    async (part, rest) => {
      const failing = new Map<string, Error>([[part, away]]);
      const { repair, told, metrics, isHeld } = stage(failing);
      const repaired = () => [
        metrics.total('galaxy.sse.gap.count'),
        metrics.total('galaxy.sse.gap.repaired'),
      ];
      repair.request('reconnected');
      await eventually(() => told.length === rest.length);
      // Some attempts later.
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(told.sort()).toEqual(rest.sort());
      expect(isHeld()).toBe(true);
      expect(repaired()).toEqual([1, 0]);
      failing.clear();
      await eventually(() => !isHeld());
      expect(repaired()).toEqual([1, 1]);
      expect(new Set(told)).toEqual(new Set(['histories', 'entry points', 'notifications', 'broadcasts']));
      expect(told).toHaveLength(4);
    },
  );

  it('of which a table may not be read at all is repaired without it, and that is counted', async () => {
    const { repair, told, metrics, isHeld } = stage(new Map([['broadcasts', broken]]));
    repair.request('reconnected');
    await eventually(() => !isHeld());
    expect(told.sort()).toEqual(['entry points', 'histories', 'notifications']);
    expect(metrics.total('galaxy.sse.database.left_out', { what: 'broadcast_update' })).toBe(1);
  });

  it('of which a change cannot be delivered is repaired without it', async () => {
    const { repair, told, isHeld, refuse } = stage(new Map());
    refuse('histories');
    repair.request('handler_failed');
    await eventually(() => !isHeld());
    expect(told.sort()).toEqual(['broadcasts', 'entry points', 'notifications']);
  });

  it('that opens again while one is repaired is read from the beginning', async () => {
    const failing = new Map<string, Error>([['histories', away]]);
    const { repair, told, isHeld } = stage(failing);
    repair.request('reconnected');
    await eventually(() => told.length === 3);
    repair.request('reconnected');
    failing.clear();
    await eventually(() => !isHeld());
    expect(told.sort()).toEqual([
      'broadcasts',
      'broadcasts',
      'entry points',
      'entry points',
      ...told.filter((it) => it === 'histories'),
      'notifications',
      'notifications',
    ]);
    expect(told).toContain('histories');
  });
});
