import { describe, expect, it } from 'vitest';
import { InProcessBus } from '../../src/bus/in-process.js';
import { systemClock } from '../../src/core/clock.js';
import type { HistoryChange, Tick } from '../../src/core/events.js';
import { sleep } from '../../src/core/lifecycle.js';
import type { ChangeLog, HintListener } from '../../src/database/port.js';
import { Term } from '../../src/monitor/term.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { Recorder } from '../support/bus.js';
import { eventually } from '../support/eventually.js';

const NOW = Date.UTC(2026, 0, 1) * 1000;
/** Answers at once; what a test holds up it replaces. */
const silentLog: ChangeLog = {
  now: async () => NOW,
  changesSince: async () => [],
  changesOf: async (ids) => ids.map(change),
  historiesOf: async () => [],
  entryPointOwnersSince: async () => ({ userIds: [], sessionIds: [] }),
};
const change = (historyId: number): HistoryChange => ({
  historyId,
  userId: historyId,
  sessionIds: [],
  newest: NOW,
  rows: 1,
});

describe('a term of the monitor', () => {
  it('whose LISTEN breaks while it reads the changes since its cursor reads them once more', async () => {
    const parts = { logger: createLogger('silent'), metrics: noMetrics, clock: systemClock };
    const bus = new InProcessBus(parts);
    const recorder = new Recorder();
    bus.subscribe(recorder);
    await bus.start();
    /** Reads that wait for their answer: the moment between the two cannot be had from a real database at will. */
    const reads: ((changes: HistoryChange[]) => void)[] = [];
    let listener!: HintListener;
    const term = new Term({
      ...parts,
      bus,
      changeLog: {
        ...silentLog,
        changesSince: () => new Promise<HistoryChange[]>((resolve) => reads.push(resolve)),
      },
      cursors: { read: async () => undefined, write: async () => {} },
      createHintSource: (it) => {
        listener = it;
        return { name: 'listen', start: async () => {}, stop: async () => {}, barrier: async () => NOW };
      },
      leaderName: 'test',
      debounceMs: 200,
      overlapSeconds: 10,
    });
    await term.start();
    await eventually(() => reads.length === 1, { what: 'the first read' });
    listener.onGap('listen_reconnected');
    reads[0]!([change(1)]);
    await eventually(() => reads.length === 2, { what: 'the second read' });
    // What was committed after the first read, and announced to nobody.
    reads[1]!([change(1), change(2)]);
    await eventually(
      () =>
        recorder.received.some(
          (it) =>
            typeof it === 'object' && 'task' in it && it.task === 'history_update' && it.userUpdates.has(2),
        ),
      { what: 'the change in between' },
    );
    expect(term.behind).toBeUndefined();
    await term.stop();
    await bus.stop();
  });

  it('ticks through a load that never ends on a broker that is far away, with a cursor that moves', async () => {
    const parts = { logger: createLogger('silent'), metrics: noMetrics, clock: systemClock };
    let confirms = 0;
    const untils: number[] = [];
    const bus = {
      available: true,
      onAvailable: () => () => {},
      publish: async () => {
        await sleep(20);
        confirms += 1;
      },
      publishTick: async ({ until }: Tick) => {
        untils.push(until);
      },
    };
    let listener!: HintListener;
    const term = new Term({
      ...parts,
      bus,
      changeLog: silentLog,
      cursors: { read: async () => undefined, write: async () => {} },
      createHintSource: (it) => {
        listener = it;
        const barrier = async () => NOW + systemClock.monotonic() * 1000;
        return { name: 'listen', start: async () => {}, stop: async () => {}, barrier };
      },
      leaderName: 'test',
      debounceMs: 200,
      overlapSeconds: 10,
    });
    await term.start();
    let next = 1;
    // Other histories each time: there is always a flush under way, and one that waits behind it.
    const load = setInterval(() => {
      next += 1;
      listener.onHistories([next]);
    }, 3);
    try {
      await eventually(() => untils.length >= 5, { within: 7_000, what: 'five ticks under load' });
    } finally {
      clearInterval(load);
      await term.stop();
    }
    expect(confirms).toBeGreaterThan(100);
    expect(new Set(untils).size).toBeGreaterThanOrEqual(2);
  });
});
