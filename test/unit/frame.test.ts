import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { preamble } from '../../src/connections/writing/body.js';
import { type Batch, commentFrame, EventId, eventFrame, frameText } from '../../src/events/frame.js';
import { historyUpdateFrame } from '../../src/events/history-update.js';
import { SseParser } from '../support/sse-parser.js';

const eventId = new EventId(Date.UTC(2026, 6, 1, 12, 34, 56) * 1000 + 789_012);
const parse = (bytes: Buffer) => new SseParser().push(bytes, 0);

describe('a frame', () => {
  it('has event, data and id, in the bytes of the contract', () => {
    expect(eventFrame('entry_point_update', '{}', eventId).text).toBe(
      'event: entry_point_update\ndata: {}\nid: 2026-07-01T12:34:56.789012\n\n',
    );
    expect(frameText('ready', '{}', undefined)).toBe('event: ready\ndata: {}\n\n');
  });

  it('of histories names them and the newest change', () => {
    const frame = historyUpdateFrame({ ids: ['aa', 'bb'], updateTime: eventId.cursor }, eventId);
    expect(frame.text).toBe(
      'event: history_update\ndata: {"history_ids":["aa","bb"],"update_time":"2026-07-01T12:34:56.789012"}\nid: 2026-07-01T12:34:56.789012\n\n',
    );
    expect(historyUpdateFrame({ ids: ['aa'], updateTime: undefined }, eventId).text).toContain(
      'data: {"history_ids":["aa"]}\n',
    );
  });

  it('of a comment moves the cursor and fires nothing', () => {
    const [frame] = parse(commentFrame('keepalive', eventId).batch.plain);
    expect(frame).toMatchObject({ event: undefined, comments: ['keepalive'], id: eventId.text });
  });

  it('carries any text to the browser, with line breaks as \\n, and nothing of it becomes a field', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('\n', '\r', ':', ' ', 'id', 'event', 'data', 'ü', '{', '\u0000') }),
        (data) => {
          const frames = parse(eventFrame('notification_update', data, eventId).batch.plain);
          expect(frames).toHaveLength(1);
          expect(frames[0]).toMatchObject({
            event: 'notification_update',
            data: data.replace(/\r\n|\r/g, '\n'),
            id: eventId.text,
            comments: [],
          });
        },
      ),
    );
  });
});

describe('a chunk', () => {
  it('tells its length in bytes, not characters', () => {
    const { chunk } = commentFrame('ü', new EventId(0)).batch;
    expect(chunk.toString()).toBe('1e\r\n: ü\nid: 1970-01-01T00:00:00\n\n\r\n');
  });

  it('of a batch holds all its frames', () => {
    const batch = eventFrame('entry_point_update', '{}', eventId).batch.with(
      eventFrame('broadcast_update', '"ö"', eventId),
    );
    const [length, body] = batch.chunk.toString().split('\r\n');
    expect(Number.parseInt(length!, 16)).toBe(Buffer.byteLength(body!));
    expect(body).toBe(batch.plain.toString());
  });
});

describe('a batch', () => {
  const frames = Array.from({ length: 5 }, (_, i) => eventFrame('broadcast_update', String(i), eventId));
  const join = (...indexes: number[]): Batch =>
    indexes.slice(1).reduce((batch, i) => batch.with(frames[i]!), frames[indexes[0]!]!.batch);

  it('keeps its frames in the order in which they came', () => {
    expect(join(2, 0, 1).frames()).toEqual([frames[2], frames[0], frames[1]]);
    expect(join(2, 0, 1).length).toBe(3);
  });

  it('is the same object for every tab that is sent the same frames, so that bytes are joined once', () => {
    expect(join(0, 1, 2)).toBe(join(0, 1, 2));
    expect(join(0, 1, 2).chunk).toBe(join(0, 1, 2).chunk);
  });

  it('is not disturbed by tabs that are sent others in between', () => {
    const first = join(0, 1);
    const other = join(0, 3);
    const again = join(0, 1);
    expect(first.plain.toString()).toBe(again.plain.toString());
    expect(other.frames()).toEqual([frames[0], frames[3]]);
    expect(first.frames()).toEqual([frames[0], frames[1]]);
  });
});

describe('the first bytes of a stream', () => {
  it.each([0, 0.5, 0.999_999])('ask for a retry after 2 to 5 s (random %d) and say ready', (random) => {
    const [retry, ready] = parse(Buffer.from(preamble('', false, eventId, () => random)));
    expect(retry?.retry).toBeGreaterThanOrEqual(2000);
    expect(retry?.retry).toBeLessThan(5000);
    expect(ready).toMatchObject({ event: 'ready', data: '{}', id: eventId.text });
  });

  it('are one chunk behind the head where the connection is chunked', () => {
    const text = preamble('HEAD\r\n\r\n', true, eventId, () => 0);
    const [, length, body] = /^HEAD\r\n\r\n([0-9a-f]+)\r\n(.*)\r\n$/s.exec(text)!;
    expect(Number.parseInt(length!, 16)).toBe(body!.length);
  });
});
