import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PendingQueue } from '../../src/connections/writing/pending-queue.js';
import { entryPointFrame } from '../../src/events/entry-point-update.js';
import { EventId, eventFrame, type Frame } from '../../src/events/frame.js';
import { type HistoryUpdate, historyUpdateFrame } from '../../src/events/history-update.js';

const at = (n: number) => new EventId(1_000_000 * n);
const histories = (n: number, ...ids: string[]): Frame =>
  historyUpdateFrame({ ids, updateTime: 1_000_000 * n }, at(n));
const message = (n: number): Frame => eventFrame('notification_update', String(n), at(n));
const entryPoints = (n: number): Frame => entryPointFrame(at(n));
const updateOf = (frame: Frame | undefined) => frame?.content as HistoryUpdate | undefined;
const filled = (frames: readonly Frame[], limit = 64): PendingQueue => {
  const queue = new PendingQueue();
  for (const frame of frames) queue.push(frame, limit);
  return queue;
};

describe('what waits for a tab', () => {
  it('goes out in the order in which it came', () => {
    const frames = [message(1), histories(2, 'a'), message(3), entryPoints(4)];
    expect(
      filled(frames)
        .frames()
        .map((frame) => frame.text),
    ).toEqual(frames.map((frame) => frame.text));
  });

  it('merges changed histories into one event with all ids and the newest time', () => {
    const [merged] = filled([histories(2, 'a', 'b'), histories(1, 'c', 'a')]).frames();
    expect(updateOf(merged)).toEqual({ ids: ['a', 'b', 'c'], updateTime: 2_000_000 });
  });

  it('gives a merged event the place and the cursor of the first, because what waits between them is not out yet', () => {
    const [first, second] = filled([histories(1, 'a'), message(2), histories(3, 'b')]).frames();
    expect(first?.eventId.cursor).toBe(1_000_000);
    expect(second?.kind).toBe('notification_update');
  });

  it('holds one entry_point_update at most, and never merges messages', () => {
    const queue = filled([entryPoints(1), entryPoints(2), message(3), message(3)]);
    expect(queue.size).toBe(3);
  });

  it('is full at its limit, but what merges still fits', () => {
    const queue = filled([message(1), histories(1, 'a')], 2);
    expect(queue.push(message(2), 2)).toBe('overflow');
    expect(queue.push(histories(2, 'b'), 2)).toBe('merged');
    expect(queue.push(entryPoints(2), 2)).toBe('overflow');
  });

  it('gives up when a merged event would name more than 500 histories', () => {
    const queue = filled([histories(1, ...Array.from({ length: 500 }, (_, i) => `h${i}`))]);
    expect(queue.push(histories(2, 'h1'), 64)).toBe('merged');
    expect(queue.push(histories(2, 'one more'), 64)).toBe('overflow');
  });

  it('never loses a history, a message or a kind of event unless it says overflow, and cursors never run ahead', () => {
    const anyFrame = fc.oneof(
      fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1 }).map((ids) => ({ ids })),
      fc.constant('message' as const),
      fc.constant('entry points' as const),
    );
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 40 }), fc.integer({ min: 1, max: 20 }), (events, limit) => {
        const queue = new PendingQueue();
        const ids = new Set<string>();
        let messages = 0;
        let entries = false;
        for (const [n, event] of events.entries()) {
          const frame =
            event === 'message'
              ? message(n)
              : event === 'entry points'
                ? entryPoints(n)
                : histories(n, ...event.ids);
          if (queue.push(frame, limit) === 'overflow') continue;
          if (event === 'message') messages += 1;
          else if (event === 'entry points') entries = true;
          else for (const id of event.ids) ids.add(id);
        }
        const frames = queue.frames();
        expect(frames.length).toBeLessThanOrEqual(limit);
        expect(new Set(frames.flatMap((frame) => updateOf(frame)?.ids ?? []))).toEqual(ids);
        expect(frames.filter((frame) => frame.kind === 'notification_update')).toHaveLength(messages);
        expect(frames.some((frame) => frame.kind === 'entry_point_update')).toBe(entries);
        const cursors = frames.map((frame) => frame.eventId.cursor);
        expect(cursors).toEqual([...cursors].sort((a, b) => a - b));
      }),
    );
  });
});
