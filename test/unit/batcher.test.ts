import { afterEach, expect, it, vi } from 'vitest';
import { Batcher, NotWanted } from '../../src/lib/batcher.js';

const clock = { monotonic: () => performance.now() };

afterEach(() => {
  vi.useRealTimers();
});

function recording(options: {
  burst: number;
  perSecond: number;
  maxBatch?: number;
  worthwhile?: number;
  steady?: boolean;
}) {
  const batches: number[][] = [];
  const batcher = new Batcher<number, number>({
    maxBatch: 1000,
    worthwhile: 1000,
    ...options,
    clock,
    ask: async (questions) => {
      batches.push([...questions]);
      return questions.map((question) => question * 2);
    },
  });
  return { batches, batcher };
}

/** Callers that come one by one, a millisecond apart, and wait for their answers together. @returns how many there were */
async function crowd(batcher: Batcher<number, number>, ms: number): Promise<number> {
  const answers: Promise<number>[] = [];
  const begin = performance.now();
  for (let i = 0; performance.now() - begin < ms; i += 1) {
    answers.push(batcher.get(i));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(answers);
  return answers.length;
}

it('answers what is asked in one turn with one batch, each caller with its own answer', async () => {
  const { batches, batcher } = recording({ burst: 1, perSecond: 1 });
  expect(await Promise.all([batcher.get(1), batcher.get(2), batcher.get(3)])).toEqual([2, 4, 6]);
  expect(batches).toEqual([[1, 2, 3]]);
});

it('sends few batches for a crowd that comes over time', async () => {
  const { batches, batcher } = recording({ burst: 2, perSecond: 20 });
  const begin = performance.now();
  const callers = await crowd(batcher, 300);
  const seconds = (performance.now() - begin) / 1000;
  expect(batches.flat()).toHaveLength(callers);
  expect(batches.length).toBeLessThanOrEqual(2 + Math.ceil(seconds * 20));
});

it('never asks for more than fits into a batch', async () => {
  const { batches, batcher } = recording({ burst: 10, perSecond: 1, maxBatch: 2 });
  await Promise.all([1, 2, 3, 4, 5].map((question) => batcher.get(question)));
  expect(batches.map((batch) => batch.length)).toEqual([2, 2, 1]);
});

it('leaves out what nobody waits for any more when its batch goes out', async () => {
  const { batches, batcher } = recording({ burst: 10, perSecond: 10, maxBatch: 2 });
  let wanted = true;
  const gone = [1, 2, 3].map((question) => batcher.get(question, () => wanted));
  const stays = [batcher.get(4), batcher.get(5)];
  wanted = false;
  expect((await Promise.allSettled(gone)).map(({ status }) => status)).toEqual(Array(3).fill('rejected'));
  expect(await Promise.all(stays)).toEqual([8, 10]);
  expect(batches).toEqual([[4, 5]]);
  await expect(batcher.get(6, () => wanted)).rejects.toBeInstanceOf(NotWanted);
  expect(await batcher.get(7)).toBe(14);
});

it('tells the failure of a batch to all who asked in it, and goes on', async () => {
  let fail = true;
  const batcher = new Batcher<number, number>({
    burst: 10,
    perSecond: 10,
    maxBatch: 10,
    worthwhile: 10,
    clock,
    ask: async (questions) => {
      if (fail) throw new Error('the database is away');
      return questions;
    },
  });
  const both = await Promise.allSettled([batcher.get(1), batcher.get(2)]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  fail = false;
  expect(await batcher.get(3)).toBe(3);
});

it('does not hold back a batch that is worth it, nor the few that come after it', async () => {
  // One batch an hour: only what is worth a batch goes out.
  const { batches, batcher } = recording({ burst: 1, perSecond: 1 / 3600, worthwhile: 3 });
  await batcher.get(1);
  const held = [batcher.get(2), batcher.get(3)];
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(batches).toEqual([[1]]);
  expect(await Promise.all([...held, batcher.get(4)])).toEqual([4, 6, 8]);
  expect(batches).toEqual([[1], [2, 3, 4]]);
});

it('does not keep callers waiting who ask one after the other', async () => {
  // At ten batches a second they would take three seconds.
  const { batches, batcher } = recording({ burst: 1, perSecond: 10 });
  for (let i = 0; i < 30; i += 1) expect(await batcher.get(i)).toBe(2 * i);
  expect(batches).toHaveLength(30);
}, 2_500);

it('does not keep a few callers waiting who ask again as soon as they are answered', async () => {
  const { batches, batcher } = recording({ burst: 1, perSecond: 2 });
  const caller = async (): Promise<void> => {
    for (let i = 0; i < 20; i += 1) await batcher.get(i);
  };
  await Promise.all([caller(), caller(), caller(), caller()]);
  expect(batches.flat()).toHaveLength(80);
}, 5_000);

it('is patient again when a crowd comes after callers that came one by one', async () => {
  const { batches, batcher } = recording({ burst: 1, perSecond: 5 });
  for (let i = 0; i < 10; i += 1) await batcher.get(i);
  const before = batches.length;
  await crowd(batcher, 1_000);
  // 5 to 200 ms in doublings, then one each 200 ms.
  expect(batches.length - before).toBeLessThanOrEqual(16);
});

/**
 * A worker that takes 50 µs for each of 10,000 connections, while a batch takes the database some milliseconds: how long it
 * takes for all, where so many connect at a time. In simulated time.
 */
async function connectAll(atOnce: number): Promise<{ ms: number; batches: number }> {
  vi.useFakeTimers();
  let batches = 0;
  const batcher = new Batcher<number, number>({
    burst: 8,
    perSecond: 4,
    maxBatch: 1000,
    worthwhile: 128,
    untilPause: true,
    clock: { monotonic: () => Date.now() },
    ask: async (questions) => {
      batches += 1;
      await new Promise((resolve) => setTimeout(resolve, 3 + questions.length / 100));
      return questions;
    },
  });
  const begin = Date.now();
  let [ready, begun, connected] = [atOnce, 0, 0];
  while (connected < 10_000) {
    for (let i = 0; i < 20 && ready > 0 && begun < 10_000; i += 1) {
      ready -= 1;
      begun += 1;
      void batcher.get(begun).then(() => {
        ready += 1;
        connected += 1;
      });
    }
    await vi.advanceTimersByTimeAsync(1);
  }
  return { ms: Date.now() - begin, batches };
}

it.each([256, 1000, 10_000])(
  'keeps a worker busy with a crowd, %i at a time, in at most 85 batches',
  async (atOnce) => {
    const { ms, batches } = await connectAll(atOnce);
    expect(batches).toBeLessThanOrEqual(85);
    // 500 ms are work; the last few wait until nobody comes any more.
    expect(ms).toBeLessThanOrEqual(550);
  },
);
