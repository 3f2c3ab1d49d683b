import { describe, expect, it } from 'vitest';
import { InProcessBus } from '../../src/bus/in-process/bus.js';
import { LightconeError } from '../../src/core/errors.js';
import type { HistoryChange, HistoryId, Tick } from '../../src/core/events.js';
import type { ChangeLog, HintListener, LogEnd, LogRead, PositionStore } from '../../src/database/port.js';
import { systemClock } from '../../src/lib/clock.js';
import { sleep } from '../../src/lib/lifecycle.js';
import { Term } from '../../src/monitor/term.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { Recorder } from '../support/bus.js';
import { eventually } from '../support/eventually.js';

const NOW = Date.UTC(2026, 0, 1) * 1000;
const now = (): number => NOW + Math.round(systemClock.monotonic() * 1000);
const change = (historyId: number): HistoryChange => ({
  historyId,
  userId: historyId,
  sessionIds: [],
  newest: NOW,
});

/** A log in memory; a test holds up what it needs to see held up. */
class MemoryLog implements ChangeLog, PositionStore {
  readonly keeps = true;
  readonly committed: HistoryId[] = [];
  readonly stored: LogEnd[] = [];
  reads = 0;
  /** What each read waits for before it answers, and before it is answered from what was there when it began. */
  hold: (limit: number) => Promise<void> | undefined = () => undefined;
  holdLookUp: (ids: readonly HistoryId[]) => Promise<void> | undefined = () => undefined;
  async now() {
    return now();
  }
  async identify() {
    return 'log';
  }
  async end(): Promise<LogEnd> {
    return { position: `log.${this.committed.length}`, moment: now() };
  }
  async since(position: string, _scope: unknown, limit = 1_000): Promise<LogRead> {
    this.reads += 1;
    const from = Number(position.slice(4));
    const to = Math.min(this.committed.length, from + limit);
    const complete = to === this.committed.length;
    const changes = [...new Set(this.committed.slice(from, to))].map(change);
    const moment = now();
    await this.hold(limit);
    return { position: `log.${to}`, moment, complete, changes };
  }
  async changesSince() {
    return [];
  }
  async changesOf(ids: readonly HistoryId[]) {
    await this.holdLookUp(ids);
    return ids.map(change);
  }
  async historiesOf() {
    return [];
  }
  async entryPointOwnersSince() {
    return { userIds: [], sessionIds: [] };
  }
  async entries() {
    return this.stored;
  }
  async newest() {
    return this.stored.at(-1);
  }
  async add(entry: LogEnd) {
    this.stored.push(entry);
  }
}

interface Stage {
  log: MemoryLog;
  term: Term;
  told: Map<HistoryId, number>;
  ticks: Tick[];
  /** Commits, and hints as LISTEN does. */
  commit(...ids: HistoryId[]): void;
  gap(): void;
}

/** @param publishMs how far away the broker is */
async function withTerm(work: (stage: Stage) => Promise<void>, publishMs = 0): Promise<void> {
  const log = new MemoryLog();
  const told = new Map<HistoryId, number>();
  const ticks: Tick[] = [];
  let listener!: HintListener;
  const term = new Term({
    logger: createLogger('silent'),
    metrics: noMetrics,
    clock: systemClock,
    bus: {
      available: true,
      onAvailable: () => () => {},
      publish: async (task) => {
        if (publishMs > 0) await sleep(publishMs);
        if (task.task !== 'history_update') return;
        for (const ids of task.userUpdates.values()) for (const id of ids) told.set(id, performance.now());
      },
      publishTick: async (tick: Tick) => {
        ticks.push(tick);
      },
    },
    changeLog: log,
    positions: log,
    createHintSource: (it) => {
      listener = it;
      return { name: 'listen', start: async () => {}, stop: async () => {}, barrier: async () => now() };
    },
    leaderName: 'test',
    debounceMs: 200,
  });
  await term.start();
  try {
    await eventually(() => term.behind === undefined);
    await work({
      log,
      term,
      told,
      ticks,
      commit: (...ids) => {
        log.committed.push(...ids);
        listener.onHistories(ids);
      },
      gap: () => listener.onGap('listen_reconnected'),
    });
  } finally {
    await term.stop();
  }
}

const timedOut = async (): Promise<never> => {
  await sleep(10_000);
  throw new LightconeError('DATABASE_UNAVAILABLE', 'Query read timeout');
};

describe.concurrent('a term of the monitor', () => {
  it('tells what was committed without a hint while it reads', () =>
    withTerm(async ({ log, told, gap }) => {
      let answer = (): void => {};
      log.hold = () => new Promise<void>((resolve) => (answer = resolve));
      log.committed.push(1);
      gap();
      await eventually(() => answer !== undefined && told.size === 0);
      log.committed.push(2);
      gap();
      log.hold = () => undefined;
      answer();
      await eventually(() => told.has(1) && told.has(2), { what: 'the change in between' });
    }));

  it('tells a change that became visible behind others, however long its transaction was open', () =>
    withTerm(async ({ told, commit }) => {
      for (let id = 1; id <= 5; id += 1) commit(id);
      await eventually(() => told.size === 5);
      // The time of its audit row is that of an hour ago; nobody asks for it.
      commit(77);
      await eventually(() => told.has(77));
    }));

  it('ticks through a load that never ends on a broker that is far away, with positions that move and are stored', () =>
    withTerm(async ({ log, told, ticks, commit }) => {
      let next = 1;
      // Other histories each time: there is always a flush under way, and one that waits behind it.
      const load = setInterval(() => {
        next += 1;
        commit(next);
      }, 3);
      try {
        await eventually(() => ticks.length >= 5, { within: 7_000, what: 'five ticks under load' });
      } finally {
        clearInterval(load);
      }
      expect(told.size).toBeGreaterThan(100);
      expect(new Set(ticks.map(({ until }) => until)).size).toBeGreaterThanOrEqual(3);
      expect(new Set(ticks.map(({ position }) => position)).size).toBeGreaterThanOrEqual(2);
      for (const { position } of ticks) expect(log.stored.map((it) => it.position)).toContain(position);
    }, 20));

  it('tells how long ago it read what was confirmed last', () =>
    withTerm(async ({ term, told, commit }) => {
      commit(1);
      await eventually(() => told.has(1) && term.cursorAgeMs !== undefined);
      expect(term.cursorAgeMs).toBeGreaterThanOrEqual(0);
      expect(term.cursorAgeMs).toBeLessThan(10_000);
    }));

  it('reads what many hints announce together, and the first at once', () =>
    withTerm(async ({ log, told, commit }) => {
      await sleep(100);
      let before = log.reads;
      commit(1);
      await new Promise(setImmediate);
      expect(log.reads).toBe(before + 1);
      before = log.reads;
      let next = 1;
      const load = setInterval(() => {
        next += 4;
        for (let id = next - 3; id <= next; id += 1) commit(id);
      }, 2);
      await sleep(1_000);
      clearInterval(load);
      // One in 20 ms, and some before the rate is known.
      expect(log.reads - before).toBeLessThan(75);
      await eventually(() => told.size === next);
    }));

  it('never ticks ahead of what is told', () =>
    withTerm(async ({ told, ticks, commit }) => {
      const until = performance.now() + 3_500;
      for (let id = 1; performance.now() < until; id += 1) {
        commit(id);
        await sleep(7);
        const { position } = ticks.at(-1) ?? {};
        for (let n = 1; n <= Number(position?.slice(4) ?? 0); n += 1) expect(told.has(n)).toBe(true);
      }
    }, 60));

  it('stores nothing while nothing changes', () =>
    withTerm(async ({ log, ticks }) => {
      await eventually(() => ticks.length >= 4, { within: 6_000 });
      expect(log.stored).toHaveLength(1);
      expect(new Set(ticks.map(({ until }) => until)).size).toBeGreaterThanOrEqual(2);
    }));

  // p19: the read of a big log takes longer than its deadline, while LISTEN and single histories are quick.
  it('tells what hints name although the log cannot be read', () =>
    withTerm(async ({ log, told, commit, gap }) => {
      log.hold = timedOut;
      log.committed.push(...Array.from({ length: 20 }, (_, i) => 10_000 + i));
      gap();
      const hinted = new Map<HistoryId, number>();
      for (let id = 1; id <= 60; id += 1) {
        hinted.set(id, performance.now());
        commit(id);
        await sleep(100);
      }
      await sleep(500);
      const late = [...hinted].map(([id, at]) => (told.get(id) ?? Number.POSITIVE_INFINITY) - at);
      expect(Math.max(...late)).toBeLessThan(1_000);
      // And as soon as it can be read, the rest.
      log.hold = () => undefined;
      await eventually(() => told.has(10_019), { within: 5_000 });
    }));

  // p27: what takes too long is asked for in smaller pieces.
  it('reads a log whose rows are slow in pieces that become smaller', () =>
    withTerm(async ({ log, told, gap }) => {
      const sizes: number[] = [];
      log.hold = async (limit) => {
        sizes.push(limit);
        if (limit > 500) await timedOut();
      };
      log.committed.push(...Array.from({ length: 2_000 }, (_, i) => i + 1));
      gap();
      await eventually(() => told.size === 2_000, { within: 12_000 });
      expect(Math.min(...sizes)).toBeLessThanOrEqual(500);
    }));
});

describe('a term on a bus that goes away', () => {
  it('publishes what was committed meanwhile once it is back, from the confirmed position', async () => {
    const parts = { logger: createLogger('silent'), metrics: noMetrics, clock: systemClock };
    const bus = new InProcessBus(parts);
    const recorder = new Recorder();
    bus.subscribe(recorder);
    const log = new MemoryLog();
    let listener!: HintListener;
    const term = new Term({
      ...parts,
      bus,
      changeLog: log,
      positions: log,
      createHintSource: (it) => {
        listener = it;
        return { name: 'listen', start: async () => {}, stop: async () => {}, barrier: async () => now() };
      },
      leaderName: 'test',
      debounceMs: 200,
    });
    await bus.start();
    await term.start();
    await eventually(() => log.stored.length === 1);
    await bus.stop();
    log.committed.push(5);
    listener.onHistories([5]);
    await sleep(50);
    await bus.start();
    await eventually(() =>
      recorder.received.some(
        (it) =>
          typeof it === 'object' && 'task' in it && it.task === 'history_update' && it.userUpdates.has(5),
      ),
    );
    await term.stop();
    await bus.stop();
  });
});
