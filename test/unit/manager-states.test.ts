/** The states of a connection manager, and of the silence where permissions cannot be looked at. */
import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { SseConfig } from '../../src/config/config.js';
import { ConnectionManager } from '../../src/connections/manager.js';
import { CallerMoments } from '../../src/connections/resume/caller-moments.js';
import { Positions } from '../../src/connections/resume/positions.js';
import type { PermissionKind } from '../../src/connections/tabs/permission-round.js';
import { UncheckedSilence } from '../../src/connections/tabs/unchecked-silence.js';
import { LightconeError } from '../../src/core/errors.js';
import type { HistoryChange, HistoryUpdateTask, Principal } from '../../src/core/events.js';
import type { ChangeLog } from '../../src/database/port.js';
import { EVENTS } from '../../src/events/registry.js';
import { systemClock } from '../../src/lib/clock.js';
import { readSince } from '../../src/resources/histories/contents-since.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { createLogger } from '../../src/telemetry/logger.js';

const NOW = Date.UTC(2026, 6, 1) * 1000;
const anna: Principal = { userId: 1, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } };
const changed = (historyId: number): HistoryUpdateTask => ({
  task: 'history_update',
  userUpdates: new Map([[1, [historyId]]]),
  sessionUpdates: new Map(),
  updateTime: NOW,
});

describe('a connection manager', () => {
  /** Answers the first read. */
  let answer: (changes: HistoryChange[]) => void;
  let fail: (error: Error) => void;
  let asked: number;
  let manager: ConnectionManager;

  /** What is asked for waits for these. */
  let held: Map<string, Promise<void>>;
  let waited: string[];
  let warned: number;
  let metrics: CountingMetrics;
  const slow = async <T>(name: string, value: T): Promise<T> => {
    await held.get(name);
    waited.push(name);
    return value;
  };

  beforeEach(() => {
    asked = 0;
    warned = 0;
    metrics = new CountingMetrics();
    held = new Map();
    waited = [];
    const logger = createLogger('silent');
    logger.warn = () => {
      warned += 1;
    };
    const changeLog: Pick<ChangeLog, 'identify' | 'now' | 'changesSince' | 'entryPointOwnersSince'> = {
      identify: () => slow('identify', 'log'),
      now: () => slow('now', NOW),
      changesSince: () =>
        new Promise((resolve, reject) => {
          asked += 1;
          answer = resolve;
          fail = reject;
        }),
      entryPointOwnersSince: async () => ({ userIds: [], sessionIds: [] }),
    };
    manager = new ConnectionManager({
      kinds: EVENTS,
      config: {
        queueSize: 4,
        keepaliveSeconds: 30,
        recentWindowSeconds: 900,
        rowClockSeconds: 10,
        writeTimeoutSeconds: 60,
        permissionCheckSeconds: 30,
        maxConnections: 10,
        maxConnectionsPerUser: 10,
      } as SseConfig,
      changeLog: changeLog as ChangeLog,
      positions: { entries: () => slow('entries', []) },
      notifications: undefined,
      returning: { changeLog: changeLog as ChangeLog, notifications: undefined },
      permissions: { revoked: async () => new Set<Principal>(), accessible: async () => [] } as never,
      subscribed: () => true,
      encodeId: String,
      decodeId: Number,
      clock: systemClock,
      random: Math.random,
      logger,
      metrics,
    });
  });
  const reading = () => vi.waitFor(() => expect(asked).toBe(1));
  const remembered = () => manager.recent.list(1, 10).map(({ subject }) => subject);

  it('that is starting is not ready, and hears nothing: the read that follows has it', async () => {
    manager.onTask(changed(1));
    const started = manager.start();
    await reading();
    expect(manager.ready).toBe(false);
    answer([]);
    await started;
    expect(manager.ready).toBe(true);
    expect(remembered()).toEqual([]);
    await manager.stop();
  });

  it('that is reading keeps what comes, and remembers it behind what it read', async () => {
    const started = manager.start();
    await reading();
    manager.onTask(changed(2));
    expect(remembered()).toEqual([]);
    answer([{ historyId: 1, userId: 1, sessionIds: [], newest: NOW - 1 }]);
    await started;
    expect(remembered()).toEqual([2, 1]);
    await manager.stop();
  });

  it('that could not deliver what came meanwhile delivers the rest, and asks for what it missed', async () => {
    const started = manager.start();
    await reading();
    manager.onTask({ task: 'history_update' } as never);
    manager.onTask(changed(3));
    answer([]);
    await started;
    expect(remembered()).toEqual([3]);
    expect(metrics.total('galaxy.sse.gap.count', { cause: 'handler_failed' })).toBe(1);
    await manager.stop();
  });

  it('that could not read reads again', async () => {
    const started = manager.start();
    await reading();
    fail(new LightconeError('DATABASE_UNAVAILABLE', 'no database'));
    await vi.waitFor(() => expect(asked).toBe(2));
    expect(manager.ready).toBe(false);
    answer([]);
    await started;
    expect(manager.ready).toBe(true);
    await manager.stop();
  });

  it('that is draining takes no stream, and what was queued goes out first', async () => {
    const started = manager.start();
    await reading();
    answer([]);
    await started;
    const out = new PassThrough();
    manager.open({ out, chunked: false, head: '', principal: anna, since: undefined, viewed: [] });
    manager.onTask(changed(3));
    const drained = manager.drain(2_000);
    expect([manager.ready, manager.draining]).toEqual([false, true]);
    await drained;
    expect(String(out.read())).toContain('"history_ids":["3"]');
    await manager.stop();
    expect(manager.draining).toBe(true);
  });

  it('that hears of another log catches its tabs up, and does not call that an overflow', async () => {
    const started = manager.start();
    await reading();
    answer([]);
    await started;
    const out = new PassThrough();
    manager.open({ out, chunked: false, head: '', principal: anna, since: undefined, viewed: [] });
    for (const [sequence, position] of ['log.100:100:', 'other.5:5:'].entries()) {
      manager.onTick({ leader: 'main', sequence, until: NOW + sequence, position });
    }
    const resumed = ['start_over', 'overflow'].map((cause) =>
      metrics.total('galaxy.sse.resume.count', { cause }),
    );
    expect(resumed).toEqual([1, 0]);
    await manager.stop();
  });

  it.each(['identify', 'entries', 'now'] as const)(
    'that is stopped while it waits for %s stays stopped, and nothing of it runs on',
    async (name) => {
      let answered!: () => void;
      held.set(name, new Promise((resolve) => (answered = resolve)));
      vi.useFakeTimers();
      try {
        const started = manager.start();
        await manager.drain(1_000);
        await manager.stop();
        answered();
        await vi.waitFor(() => expect(waited).toContain(name));
        answer?.([]);
        await started;
        expect([asked, manager.ready, manager.draining, vi.getTimerCount()]).toEqual([0, false, true, 0]);
      } finally {
        vi.useRealTimers();
      }
    },
  );

  it('that is started twice at once starts once', async () => {
    const started = Promise.all([manager.start(), manager.start()]);
    await reading();
    answer([]);
    await started;
    expect([asked, manager.ready]).toEqual([1, true]);
    await manager.stop();
  });

  it('that is stopped between two attempts to read waits for no further one', async () => {
    const started = manager.start();
    await reading();
    fail(new LightconeError('DATABASE_UNAVAILABLE', 'no database'));
    await vi.waitFor(() => expect(warned).toBe(1));
    await manager.stop();
    await started;
    expect([asked, warned]).toEqual([1, 1]);
  });

  it('that is stopped while it reads does not open when the answer comes', async () => {
    const started = manager.start();
    await reading();
    await manager.stop();
    answer([]);
    await started;
    expect(manager.ready).toBe(false);
  });
});

it('a moment that a caller names counts unless it cannot be read or lies in the future', () => {
  const metrics = new CountingMetrics();
  let clock: { now: () => number; judge: (moment: number) => number } | undefined;
  const moments = new CallerMoments({
    positions: new Positions(),
    recentWindowSeconds: 900,
    databaseClock: () => clock,
    metrics,
  });
  expect(moments.accept(NOW + 3_600e6)).toBe(NOW + 3_600e6);
  clock = { now: () => NOW, judge: (moment) => moment };
  expect(moments.accept(NOW - 1)).toBe(NOW - 1);
  expect(moments.accept(NOW + 9e6)).toBe(NOW + 9e6);
  expect(moments.accept(NOW + 11e6)).toBe(NOW - 900e6);
  expect(moments.accept(undefined)).toBe(NOW - 900e6);
  for (const reason of ['future', 'unreadable']) {
    expect(metrics.total('galaxy.sse.resume.invalid_cursor', { reason })).toBe(1);
  }
  expect([moments.isWhole(NOW - 899e6), moments.isWhole(NOW - 901e6)]).toEqual([true, false]);
});

it('no position is given out under a moment that is yet to come: elsewhere a later position stands there by then', () => {
  const positions = new Positions();
  const moments = new CallerMoments({
    positions,
    recentWindowSeconds: 900,
    databaseClock: () => ({ now: () => NOW, judge: (moment) => moment }),
    metrics: new CountingMetrics(),
  });
  positions.begin('log', [
    { moment: NOW - 20e6, position: 'log.100:100:' },
    // As a new leader stores it, who does not know how far the one before has ticked.
    { moment: NOW + 50e6, position: 'log.100:100:' },
    { moment: NOW + 50e6, position: 'log.111:111:' },
  ]);
  expect(moments.newest()!.moment).toBeLessThanOrEqual(NOW);
  const { next } = readSince('', moments);
  expect(next).toBe(`log.${NOW.toString(36)}`);
  expect(readSince(next!, moments).from).toBe('log.100:100:');
});

describe('where permissions cannot be looked at', () => {
  const kinds = (...some: PermissionKind[]): ReadonlySet<PermissionKind> => new Set(some);

  it('nothing personal is told until all kinds are checked, and each that is checked again is a gap', () => {
    const release = vi.fn();
    const [hold, request] = [vi.fn(() => release), vi.fn()];
    const dispatcher = { muted: kinds() };
    const silence = new UncheckedSilence({
      dispatcher,
      watermark: { hold },
      gapRepair: { request },
      logger: createLogger('silent'),
    });
    silence.follow(kinds());
    expect([silence.state, hold.mock.calls.length]).toEqual(['telling', 0]);
    silence.follow(kinds('session'));
    silence.follow(kinds('session', 'api_key'));
    expect([silence.state, hold.mock.calls.length, request.mock.calls.length]).toEqual(['silent', 1, 0]);
    silence.follow(kinds('api_key'));
    expect([silence.state, request.mock.calls, release.mock.calls.length]).toEqual([
      'silent',
      [['unchecked']],
      0,
    ]);
    expect([...dispatcher.muted]).toEqual(['api_key']);
    silence.follow(kinds());
    expect([silence.state, request.mock.calls.length, release.mock.calls.length]).toEqual(['telling', 2, 1]);
    silence.follow(kinds());
    expect(release.mock.calls.length).toBe(1);
  });
});
