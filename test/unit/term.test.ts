import { describe, expect, it } from 'vitest';
import { InProcessBus } from '../../src/bus/in-process.js';
import { systemClock } from '../../src/core/clock.js';
import type { HistoryChange } from '../../src/core/events.js';
import type { HintListener } from '../../src/database/port.js';
import { Term } from '../../src/monitor/term.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { Recorder } from '../support/bus.js';
import { eventually } from '../support/eventually.js';

const NOW = Date.UTC(2026, 0, 1) * 1000;
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
        now: async () => NOW,
        changesSince: () => new Promise<HistoryChange[]>((resolve) => reads.push(resolve)),
        changesOf: async (ids) => ids.map(change),
        entryPointOwnersSince: async () => ({ userIds: [], sessionIds: [] }),
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
});
