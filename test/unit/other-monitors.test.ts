import { afterEach, expect, it, vi } from 'vitest';
import { watchForOtherMonitors } from '../../src/app/wiring/other-monitors.js';
import type { Sql } from '../../src/database/port.js';
import { systemClock } from '../../src/lib/clock.js';
import { recordingLogger } from '../support/bus.js';

afterEach(() => vi.useRealTimers());

it('the leader says once that another monitor listens, again after a pause, and nothing while it does not lead', async () => {
  vi.useFakeTimers();
  let sessions = [{ application_name: '', client: '10.0.0.7', pid: 4711 }];
  let leads = false;
  const database = { dialect: 'postgresql', all: async () => sessions } as unknown as Sql;
  const { logger, lines } = recordingLogger();
  const end = watchForOtherMonitors(database, () => leads, { logger, clock: systemClock });
  const minutes = (count: number) => vi.advanceTimersByTimeAsync(count * 60_000);
  await minutes(3);
  expect(lines).toEqual([]);
  leads = true;
  await minutes(5);
  expect(lines).toMatchObject([
    {
      level: 40,
      others: ['a program without a name (10.0.0.7, process 4711 of PostgreSQL)'],
      msg: expect.stringContaining('so events come twice'),
    },
  ]);
  sessions = [];
  await minutes(2);
  sessions = [{ application_name: 'galaxy', client: '10.0.0.7', pid: 12 }];
  await minutes(2);
  expect(lines).toHaveLength(2);
  end();
  sessions = [];
  await minutes(5);
  expect(lines).toHaveLength(2);
});
