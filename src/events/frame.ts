/**
 * Framing: an event becomes bytes once, and every tab is handed the same bytes.
 *
 * Three small values, all immutable and shared:
 * - `Position`: a cursor with its text; what an `id:` line says.
 * - `Frame`: one event as text.
 * - `Batch`: the frames that arrived for a tab in one event-loop turn, as the one buffer that goes out in one write. Nothing
 *   is encoded but what goes out.
 */
import type { Cursor } from '../core/events.js';
import type { LogPosition } from '../database/port.js';
import { formatIso } from '../lib/time.js';
import { type SinceToken, sinceToken } from './since.js';

/** A resume cursor as it stands on the wire. One object per tick, referred to by every frame and tab of that tick. */
export class Position {
  readonly text: string;
  /** Since when a client that is told something now should ask. */
  readonly since: SinceToken;
  constructor(
    readonly cursor: Cursor,
    /** In the log: all that is visible there has been sent. Undefined where no tick tells. */
    readonly log: LogPosition | undefined = undefined,
  ) {
    this.text = formatIso(cursor);
    this.since = log === undefined ? undefined : sinceToken(log, cursor);
  }
}

/** How events of one kind that wait for the same tab become one. */
export interface MergeRule<Content, Waiting> {
  begin(content: Content): Waiting;
  /** @returns false when the waiting event has grown too large: the queue then overflows */
  add(waiting: Waiting, content: Content): boolean;
  frame(waiting: Waiting, position: Position): Frame;
}

export class Frame {
  private asBatch: Batch | undefined;

  constructor(
    /** Name of the event, or `COMMENT`. */
    readonly kind: string,
    readonly text: string,
    readonly position: Position,
    /** Undefined for what never merges. */
    // biome-ignore lint/suspicious/noExplicitAny: a rule is only ever given the content that its own kind made
    readonly merge: MergeRule<any, any> | undefined = undefined,
    /** What the event says; kept beside its text for `merge`. */
    readonly content: unknown = undefined,
  ) {}

  /** The batch that consists of this frame only. */
  get batch(): Batch {
    this.asBatch ??= new Batch(this, undefined);
    return this.asBatch;
  }
}

/**
 * A sequence of frames. Tabs that are sent the same sequence hold the same object, because extending a batch by the frame
 * that it was last extended by returns the same extension: a broadcast of four events to 10,000 tabs joins bytes once.
 */
export class Batch {
  readonly length: number;
  /** Of all its frames; undefined where they are of several kinds. */
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

  /** The frames, joined. */
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

  /** In the order of their arrival. */
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
 * The text of one event. Data of several lines becomes several `data:` lines: a payload passes through unchanged
 * (contract, section 3.4), but it can never end its frame or begin a field of its own.
 */
export function frameText(kind: string, data: string, position: Position | undefined): string {
  const lines = /[\r\n]/.test(data) ? data.split(/\r\n|\r|\n/).join('\ndata: ') : data;
  return position === undefined
    ? `event: ${kind}\ndata: ${lines}\n\n`
    : `event: ${kind}\ndata: ${lines}\nid: ${position.text}\n\n`;
}

export function eventFrame(kind: string, data: string, position: Position): Frame {
  return new Frame(kind, frameText(kind, data, position), position);
}

/** The `kind` of a frame that is no event. */
export const COMMENT = 'comment';

/** A comment that moves the browser's cursor: an `id:` in a block without data sets it and fires no event. */
export function commentFrame(text: string, position: Position): Frame {
  return new Frame(COMMENT, `: ${text}\nid: ${position.text}\n\n`, position);
}

/** @param milliseconds what the browser waits before it reconnects */
export function retryText(milliseconds: number): string {
  return `retry: ${milliseconds}\n\n`;
}
