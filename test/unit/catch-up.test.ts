import { beforeEach, describe, expect, it, vi } from 'vitest';
import { CatchUp, catchUpFrames, type StatusBatcher } from '../../src/connections/resume/catch-up.js';
import type { DatabaseClock } from '../../src/connections/resume/database-clock.js';
import { RecentLog } from '../../src/connections/resume/recent-log.js';
import { Resume } from '../../src/connections/resume/resume.js';
import type { Watermark } from '../../src/connections/resume/watermark.js';
import type { ViewerRegistry } from '../../src/connections/routing/viewers.js';
import type { Tab } from '../../src/connections/tabs/tab.js';
import type { TabWriter } from '../../src/connections/writing/tab-writer.js';
import { LightconeError } from '../../src/core/errors.js';
import type { HistoryChange, Principal } from '../../src/core/events.js';
import type { ChangeLog } from '../../src/database/port.js';
import { EventId, eventFrame, type Frame } from '../../src/events/frame.js';
import { readHistoryUpdate } from '../../src/events/history-update.js';
import type { FrameMaker } from '../../src/events/kind.js';
import { MARGIN } from '../../src/events/kind.js';
import { EVENTS } from '../../src/events/registry.js';
import { NotWanted } from '../../src/lib/batcher.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { SkippedRows } from '../../src/telemetry/skipped-rows.js';
import { ThrottledLogger } from '../../src/telemetry/throttled-logger.js';

const anna: Principal = { userId: 1, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } };
const change = (historyId: number): HistoryChange => ({
  historyId,
  userId: 1,
  sessionIds: [],
  newest: NOW - 5,
});

const NOW = 100 * 86_400 * 1_000_000;
/** Reads that have begun and are not answered yet, oldest first. */
let asked: number[];
let reads: { answer: (changes: HistoryChange[]) => void; fail: (error: Error) => void }[];
let catchUp: CatchUp;
let parts: ConstructorParameters<typeof CatchUp>[0];

beforeEach(() => {
  reads = [];
  asked = [];
  const changeLog: Pick<ChangeLog, 'changesSince' | 'historiesOf' | 'entryPointOwnersSince'> = {
    changesSince: (floor) => {
      asked.push(floor);
      return new Promise((answer, fail) => void reads.push({ answer, fail }));
    },
    historiesOf: async () => [70, 71],
    entryPointOwnersSince: async () => ({ userIds: [], sessionIds: [] }),
  };
  parts = {
    kinds: EVENTS,
    changeLog: changeLog as ChangeLog,
    // Covers nothing: every question goes to the database.
    recent: new RecentLog(8, 1_000_000),
    statuses: undefined,
    positions: {
      ofId: () => undefined,
      mayBeOfAnotherLog: () => false,
      floor: (moment: number) => moment - 10_000_000,
    },
    now: () => NOW,
    skippedRows: new SkippedRows({ logger: createLogger('silent'), clock: systemClock, metrics: noMetrics }),
    metrics: noMetrics,
  };
  catchUp = new CatchUp(parts);
});

/** @returns names of events, and the histories that they name */
const read = (makers: FrameMaker[]): (string | number)[] =>
  makers.flatMap((make): (string | number)[] => {
    const { text } = make(new EventId(0), String);
    const event = /^event: (.*)$/m.exec(text)![1]!;
    const data = /^data: (.*)$/m.exec(text)![1]!;
    return event === 'history_update' ? readHistoryUpdate(data).ids.map(Number) : [event];
  });
const ask = async (): Promise<(string | number)[]> =>
  read(await catchUp.missed(anna, [], NOW - 7, 'reconnect', () => true));
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
    reads[0]!.fail(new LightconeError('DATABASE_UNAVAILABLE', 'away'));
    await expect(first).rejects.toThrow('away');
    await turn();
    reads[1]!.answer([change(7)]);
    expect(await second).toEqual([7]);
  });
});

describe('a caller with many tabs', () => {
  const come = (since: number, isWanted = () => true, who = anna) =>
    catchUp.missed(who, [], since, 'reconnect', isWanted).then(read);
  const of = (userId: number): Principal => ({ ...anna, userId });

  it('has one read under way and one that waits, from the oldest of its cursors; each tab is told what it missed', async () => {
    const first = come(NOW - 50);
    await turn();
    const others = [come(NOW - 30), come(NOW - 60), come(NOW - 4)];
    await turn();
    expect(asked).toEqual([NOW - 50 - MARGIN]);
    reads[0]!.answer([]);
    await first;
    await turn();
    expect(asked).toEqual([NOW - 50 - MARGIN, NOW - 60 - MARGIN]);
    reads[1]!.answer([
      { ...change(7), newest: NOW - MARGIN - 5 },
      { ...change(8), newest: NOW - MARGIN - 40 },
    ]);
    expect(await Promise.all(others)).toEqual([[7], [7, 8], []]);
  });

  it('does not hold up another caller', async () => {
    for (let i = 0; i < 150; i += 1) come(NOW - 100 - i).catch(() => {});
    await turn();
    const other = come(NOW - 7, () => true, of(2));
    await turn();
    expect(asked).toEqual([NOW - 249 - MARGIN, NOW - 7 - MARGIN]);
    reads[1]!.answer([{ ...change(9), userId: 2 }]);
    expect(await other).toEqual([9]);
  });

  it('whose tabs are closed again asks nothing more', async () => {
    let open = true;
    const first = come(NOW - 50);
    await turn();
    const closed = Promise.allSettled([come(NOW - 60, () => open), come(NOW - 61, () => open)]);
    open = false;
    reads[0]!.answer([]);
    await first;
    expect((await closed).map((it) => it.status === 'rejected' && it.reason)).toEqual([
      expect.any(NotWanted),
      expect.any(NotWanted),
    ]);
    expect(asked).toEqual([NOW - 50 - MARGIN]);
    // And its next tab is served.
    const next = come(NOW - 7);
    await turn();
    reads[1]!.answer([change(7)]);
    expect(await next).toEqual([7]);
  });

  it('gets only what is its own: the sessions of one user share reads, not what they are told', async () => {
    const session = (sessionId: number): Principal => ({ ...anna, userId: undefined, sessionId });
    const [one, other] = [come(NOW - 7, () => true, session(1)), come(NOW - 7, () => true, session(2))];
    await turn();
    for (const [i, one] of reads.entries())
      one.answer([{ ...change(i + 1), userId: undefined, sessionIds: [i + 1] }]);
    expect(await Promise.all([one, other])).toEqual([[1], [2]]);
  });
});

describe('a cursor that is older than any that the log is asked for', () => {
  it('starts over: all own histories and all that are looked at may have changed, and the log is not read', async () => {
    const missed = await catchUp.missed(anna, [5], 1, 'reconnect', () => true);
    expect(read(missed)).toEqual([5, 70, 71, 'entry_point_update']);
    expect(missed[0]!(new EventId(0), String).text).not.toContain('update_time');
    expect(asked).toEqual([]);
  });

  it('of somebody without an account or a session says nothing and asks nothing', async () => {
    const nobody: Principal = { ...anna, userId: undefined };
    const missed = await catchUp.missed(nobody, [], 1, 'reconnect', () => true);
    expect(missed).toEqual([]);
  });

  it('does not widen the statuses of others: they are asked for thirty days at most', async () => {
    const since: number[] = [];
    const statuses = { get: async (question: { since: number }) => String(since.push(question.since)) };
    const withStatuses = new CatchUp({ ...parts, statuses: statuses as unknown as StatusBatcher });
    await withStatuses.missed({ ...anna, userId: undefined }, [], 1, 'reconnect', () => true);
    expect(since).toEqual([NOW - 30 * 86_400 * 1_000_000]);
  });
});

describe('what cannot be read', () => {
  const schema = new LightconeError('DATABASE_SCHEMA', 'permission denied');
  const away = new LightconeError('DATABASE_UNAVAILABLE', 'away');
  const statusesThat = (error: Error) => ({ get: () => Promise.reject(error) }) as unknown as StatusBatcher;

  it('and never will be, such as a table without permission, does not keep the rest back', async () => {
    parts.changeLog.entryPointOwnersSince = () => Promise.reject(schema);
    const asking = new CatchUp({ ...parts, statuses: statusesThat(schema) });
    const missed = asking.missed(anna, [], NOW - 7, 'reconnect', () => true);
    await turn();
    reads[0]!.answer([change(7)]);
    expect(read(await missed)).toEqual([7]);
  });

  it('because the database is away is asked for again', async () => {
    const asking = new CatchUp({ ...parts, statuses: statusesThat(away) });
    await expect(asking.missed(anna, [], NOW - 7, 'reconnect', () => true)).rejects.toBe(away);
  });
});

it('a catch-up that ends at the cursor it began with is followed by a comment: nothing else would tell its end', () => {
  const [cameWith, later] = [new EventId(1_000_000), new EventId(2_000_000)];
  const one: FrameMaker = (position) => eventFrame('history_update', '{}', position);
  const texts = (reached: EventId) =>
    catchUpFrames([one, one], cameWith, reached, (id) => String(id)).map(({ text }) => text);
  expect(texts(later)).toHaveLength(2);
  expect(texts(cameWith)).toHaveLength(3);
  expect(texts(cameWith).at(-1)).toMatch(/^: .*\nid: /);
});

it('a socket that drains while a tab is caught up starts no second catch-up, whose end would find the first too old', async () => {
  const written: string[][] = [];
  const tab = { state: 'live', principal: anna } as Tab;
  let afterWrite = (): void => {};
  const resume = new Resume({
    catchUp,
    writer: {
      discard() {},
      writeCatchUp(_tab: Tab, frames: readonly Frame[]) {
        written.push(
          [
            ...frames
              .map(({ text }) => text)
              .join('')
              .matchAll(/"(\d+)"[,\]]/g),
          ].map(([, id]) => id!),
        );
        tab.state = 'live';
        afterWrite();
      },
    } as unknown as TabWriter,
    viewers: { size: 0 } as ViewerRegistry,
    watermark: { eventId: new EventId(NOW) } as Watermark,
    positions: { ofId: () => undefined },
    databaseClock: { judge: (moment: number) => moment } as DatabaseClock,
    encodeId: String,
    throttledLogger: new ThrottledLogger(createLogger('silent'), systemClock),
  });
  const { signal } = new AbortController();
  const run = resume.run(tab, NOW - 5, 'reconnect', signal);
  await vi.waitFor(() => expect(reads).toHaveLength(1));
  // Its queue overflows, and then the socket takes bytes.
  tab.state = 'lagging';
  void resume.run(tab, NOW - 5, 'overflow', signal);
  reads[0]!.answer([change(7)]);
  await vi.waitFor(() => expect(reads).toHaveLength(2));
  expect(written).toEqual([]);
  reads[1]!.answer([change(7), change(8)]);
  await run;
  expect(written).toEqual([['7', '8']]);
  // Later ones run, also in the turn in which the tab becomes live.
  afterWrite = () => queueMicrotask(() => void resume.run(tab, NOW - 5, 'start_over', signal));
  const later = resume.run(tab, NOW - 5, 'overflow', signal);
  await vi.waitFor(() => expect(reads).toHaveLength(3));
  reads[2]!.answer([]);
  await later;
  await vi.waitFor(() => expect(reads).toHaveLength(4));
  afterWrite = () => {};
  reads[3]!.answer([]);
});
