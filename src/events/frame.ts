/**
 * Framing: an event becomes bytes once, and all tabs share these bytes.
 * There are three small, immutable, shared values:
 * - `EventId`: a cursor with its text, the value of an `id:` line.
 * - `Frame`: one event as text.
 * - `Batch`: the frames that arrived for a tab in one event-loop turn, as one buffer for one write. Only written
 *   batches are encoded.
 */
import type { Cursor } from '../core/events.js';
import type { LogPosition } from '../database/port.js';
import { formatIso } from '../lib/time.js';
import { type SinceToken, sinceToken } from './since.js';

/** A resume cursor and its text on the wire. All frames and tabs of a tick share one object. */
export class EventId {
  readonly text: string;
  /** The position from which a client should request the changes of this event. */
  readonly since: SinceToken;
  constructor(
    readonly cursor: Cursor,
    /** The position in the log: the stream has everything that is visible there. Undefined without ticks. */
    readonly log: LogPosition | undefined = undefined,
  ) {
    this.text = formatIso(cursor);
    this.since = log === undefined ? undefined : sinceToken(log, cursor);
  }
}

/** How waiting events of one kind merge in the queue of a tab. */
export interface MergeRule<Content, Waiting> {
  begin(content: Content): Waiting;
  /** @returns false if the waiting event has grown too large; the queue then overflows */
  add(waiting: Waiting, content: Content): boolean;
  frame(waiting: Waiting, eventId: EventId): Frame;
}

export class Frame {
  private asBatch: Batch | undefined;

  constructor(
    /** Name of the event, or `COMMENT`. */
    readonly kind: string,
    readonly text: string,
    readonly eventId: EventId,
    /** Undefined for a kind that never merges. */
    // biome-ignore lint/suspicious/noExplicitAny: a rule is only ever given the content that its own kind made
    readonly merge: MergeRule<any, any> | undefined = undefined,
    /** The content of the event; `merge` reads it instead of the text. */
    readonly content: unknown = undefined,
  ) {}

  /** The batch of this frame alone. */
  get batch(): Batch {
    this.asBatch ??= new Batch(this, undefined);
    return this.asBatch;
  }
}

/**
 * A sequence of frames. Tabs that receive the same sequence share one object: extending a batch by the same frame as
 * last time returns the same extension. So a broadcast of four events to 10,000 tabs joins bytes once.
 */
export class Batch {
  readonly length: number;
  /** The kind of all its frames; undefined if they differ. */
  readonly kind: string | undefined;
  private extension: Batch | undefined;
  private plainBytes: Buffer | undefined;
  private chunkBytes: Buffer | undefined;

  constructor(
    readonly last: Frame,
    private readonly before: Batch | undefined,
  ) {
    this.length = before === undefined ? 1 : before.length + 1;
    this.kind = before === undefined || before.kind === last.kind ? last.kind : undefined;
  }

  with(frame: Frame): Batch {
    if (this.extension?.last !== frame) this.extension = new Batch(frame, this);
    return this.extension;
  }

  /** The joined frames. */
  get plain(): Buffer {
    this.plainBytes ??= Buffer.from(this.text());
    return this.plainBytes;
  }

  /** The frames as one HTTP/1.1 chunk (RFC 9112, section 7.1). */
  get chunk(): Buffer {
    if (this.chunkBytes === undefined) {
      const text = this.text();
      this.chunkBytes = Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
    }
    return this.chunkBytes;
  }

  /** In order of arrival. */
  frames(): Frame[] {
    const frames = new Array<Frame>(this.length);
    for (let batch: Batch | undefined = this, i = this.length - 1; batch; batch = batch.before, i -= 1) {
      frames[i] = batch.last;
    }
    return frames;
  }

  private text(): string {
    if (this.before === undefined) return this.last.text;
    return this.frames()
      .map((frame) => frame.text)
      .join('');
  }
}

/** Ends a chunked body. */
export const LAST_CHUNK = Buffer.from('0\r\n\r\n', 'latin1');

/**
 * The text of one event. A line break in the data starts another `data:` line, so a payload passes unchanged (contract,
 * section 3.4) but cannot end its frame or add a field.
 */
export function frameText(kind: string, data: string, eventId: EventId | undefined): string {
  const lines = /[\r\n]/.test(data) ? data.split(/\r\n|\r|\n/).join('\ndata: ') : data;
  return eventId === undefined
    ? `event: ${kind}\ndata: ${lines}\n\n`
    : `event: ${kind}\ndata: ${lines}\nid: ${eventId.text}\n\n`;
}

export function eventFrame(kind: string, data: string, eventId: EventId): Frame {
  return new Frame(kind, frameText(kind, data, eventId), eventId);
}

/** The `kind` of a frame that is not an event. */
export const COMMENT = 'comment';

/** A comment that advances the browser's cursor: in a block without data, `id:` sets the cursor and fires no event. */
export function commentFrame(text: string, eventId: EventId): Frame {
  return new Frame(COMMENT, `: ${text}\nid: ${eventId.text}\n\n`, eventId);
}

/** @param milliseconds the delay before the browser reconnects */
export function retryText(milliseconds: number): string {
  return `retry: ${milliseconds}\n\n`;
}
