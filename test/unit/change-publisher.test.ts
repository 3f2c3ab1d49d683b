import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { HistoryChange, HistoryUpdateTask, Task } from '../../src/core/events.js';
import { ChangePublisher } from '../../src/monitor/change-publisher.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';

const change = (historyId: number): HistoryChange => ({
  historyId,
  userId: 1,
  sessionIds: [],
  newest: historyId,
});
const end = (moment: number) => ({ position: `log.${moment}`, moment });

describe('a publisher of changes', () => {
  let now: number;
  let publisher: ChangePublisher;
  let failures: unknown[];
  /** Of the task that was published last. */
  let confirm: () => void;
  let refuse: (error: Error) => void;
  const published: number[][] = [];

  beforeEach(() => {
    vi.useFakeTimers();
    now = 10_000;
    failures = [];
    published.length = 0;
    publisher = new ChangePublisher({
      bus: {
        publish: (task: Task) =>
          new Promise<void>((resolve, reject) => {
            published.push([...(task as HistoryUpdateTask).userUpdates.values()].flat());
            confirm = resolve;
            refuse = reject;
          }),
      },
      debounceMs: 200,
      clock: { now: () => 0, monotonic: () => now },
      metrics: new CountingMetrics(),
      onFailed: (error) => failures.push(error),
    });
    return () => vi.useRealTimers();
  });
  const pass = async (ms: number) => {
    now += ms;
    await vi.advanceTimersByTimeAsync(ms);
  };

  it('is idle, publishes a change at once, and is idle when it is confirmed', async () => {
    expect([publisher.state, publisher.confirmed]).toEqual(['idle', undefined]);
    publisher.addRead([change(1)], end(1));
    expect([publisher.state, published, publisher.confirmed]).toEqual(['publishing', [[1]], undefined]);
    confirm();
    await pass(0);
    expect([publisher.state, publisher.confirmed?.moment]).toEqual(['idle', 1]);
  });

  it('waits with the second change of a history until its window ends; what was read with it is not confirmed before', async () => {
    publisher.addRead([change(1)], end(1));
    confirm();
    await pass(0);
    publisher.addRead([change(1)], end(2));
    publisher.addRead([], end(3));
    expect([publisher.state, publisher.confirmed?.moment, publisher.hasUnconfirmed]).toEqual([
      'waiting',
      1,
      true,
    ]);
    await pass(200);
    expect([publisher.state, published.length]).toEqual(['publishing', 2]);
    confirm();
    await pass(0);
    expect([publisher.state, publisher.confirmed?.moment, publisher.hasUnconfirmed]).toEqual([
      'idle',
      3,
      false,
    ]);
  });

  it('publishes what came while it was publishing', async () => {
    publisher.addRead([change(1)], end(1));
    publisher.addRead([change(2)], end(2));
    expect(published).toEqual([[1]]);
    confirm();
    await pass(0);
    expect([published, publisher.confirmed?.moment]).toEqual([[[1], [2]], 1]);
  });

  it('keeps nothing where publishing failed: reads go on from what was confirmed', async () => {
    publisher.addRead([], end(1));
    publisher.addRead([change(1)], end(2));
    publisher.addRead([change(2)], end(3));
    refuse(new Error('broker away'));
    await pass(0);
    expect([publisher.state, failures.length, publisher.hasUnconfirmed]).toEqual(['idle', 1, false]);
    expect(publisher.confirmed?.moment).toBe(1);
    publisher.addRead([change(1), change(2)], end(4));
    confirm();
    await pass(200);
    confirm();
    await pass(0);
    expect([published, publisher.confirmed?.moment]).toEqual([[[1], [2], [1]], 4]);
  });

  it('does not hold a read up for what was only looked up', () => {
    publisher.addLookedUp([change(1)]);
    publisher.addRead([], end(1));
    expect([publisher.state, publisher.confirmed?.moment]).toEqual(['publishing', 1]);
  });

  it('that is stopped publishes nothing more, waits for what is on its way, and confirms nothing of it', async () => {
    publisher.addRead([change(1)], end(1));
    publisher.addRead([change(2)], end(2));
    let stopped = false;
    void publisher.stop().then(() => {
      stopped = true;
    });
    await pass(1_000);
    expect([stopped, published.length]).toEqual([false, 1]);
    refuse(new Error('closed'));
    await pass(0);
    expect([stopped, published.length, failures, publisher.confirmed]).toEqual([true, 1, [], undefined]);
    expect(publisher.state).toBe('stopped');
  });
});
