import { beforeEach, describe, expect, it } from 'vitest';
import { CatchUp } from '../../src/connections/catch-up.js';
import { RecentLog } from '../../src/connections/recent-log.js';
import type { HistoryChange, Principal } from '../../src/core/events.js';
import type { ChangeLog } from '../../src/database/port.js';
import { noMetrics } from '../../src/telemetry/metrics.js';

const anna: Principal = { userId: 1, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } };
const change = (historyId: number): HistoryChange => ({
  historyId,
  userId: 1,
  sessionIds: [],
  newest: 5,
});

/** Reads that have begun and are not answered yet, oldest first. */
let reads: { answer: (changes: HistoryChange[]) => void; fail: (error: Error) => void }[];
let catchUp: CatchUp;

beforeEach(() => {
  reads = [];
  const changeLog: Pick<ChangeLog, 'changesSince' | 'entryPointOwnersSince'> = {
    changesSince: () => new Promise((answer, fail) => void reads.push({ answer, fail })),
    entryPointOwnersSince: async () => ({ userIds: [], sessionIds: [] }),
  };
  catchUp = new CatchUp({
    changeLog: changeLog as ChangeLog,
    // Covers nothing: every question goes to the database.
    recent: new RecentLog(8, 1_000_000),
    statuses: undefined,
    overlapMicros: 0,
    metrics: noMetrics,
  });
});

const ask = async (): Promise<number[]> => [...(await catchUp.missed(anna, [], 3, 'reconnect')).historyIds];
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('equal questions to the database', () => {
  it('are not answered by a read that began before they were asked', async () => {
    const early = ask();
    await turn();
    // Committed and told now, before the second tab opens: not in the first read, and not sent to the second tab.
    const late = ask();
    reads[0]!.answer([]);
    await turn();
    expect(reads).toHaveLength(2);
    reads[1]!.answer([change(7)]);
    expect(await early).toEqual([]);
    expect(await late).toEqual([7]);
  });

  it('that come while a read is under way share the next one', async () => {
    const first = ask();
    await turn();
    const others = [ask(), ask(), ask()];
    await turn();
    expect(reads).toHaveLength(1);
    reads[0]!.answer([]);
    await first;
    await turn();
    expect(reads).toHaveLength(2);
    reads[1]!.answer([change(7), change(8)]);
    expect(await Promise.all(others)).toEqual([
      [7, 8],
      [7, 8],
      [7, 8],
    ]);
  });

  it('that wait behind a read which fails are asked all the same', async () => {
    const first = ask();
    await turn();
    const second = ask();
    reads[0]!.fail(new Error('away'));
    await expect(first).rejects.toThrow('away');
    await turn();
    reads[1]!.answer([change(7)]);
    expect(await second).toEqual([7]);
  });
});
