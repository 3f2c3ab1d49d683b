/** One block of an event stream, as it came. */
export interface SseFrame {
  /** `message` where no `event:` line stands; undefined for a block that fires no event (comment, `retry:`, `id:` alone). */
  readonly event: string | undefined;
  readonly data: string | undefined;
  readonly id: string | undefined;
  readonly retry: number | undefined;
  readonly comments: readonly string[];
  /** The block as text, without the blank line that ends it. */
  readonly raw: string;
  /** `performance.now()` when its last byte arrived. */
  readonly at: number;
}

/** Cuts a stream into frames as the HTML standard says (section 9.2.6). A line that is no field of it is an error here. */
export class SseParser {
  private rest = '';
  private readonly decoder = new TextDecoder('utf-8', { fatal: true });

  push(bytes: Uint8Array, at: number): SseFrame[] {
    this.rest += this.decoder.decode(bytes, { stream: true });
    const frames: SseFrame[] = [];
    for (;;) {
      const end = /(?:\r\n|\n|\r(?!\n)){2}/.exec(this.rest);
      if (end === null) return frames;
      frames.push(parseBlock(this.rest.slice(0, end.index), at));
      this.rest = this.rest.slice(end.index + end[0].length);
    }
  }

  /** What came after the last complete frame; a browser throws it away. */
  get incomplete(): string {
    return this.rest;
  }
}

function parseBlock(raw: string, at: number): SseFrame {
  const fields: { event?: string; id?: string; retry?: number } = {};
  const data: string[] = [];
  const comments: string[] = [];
  for (const line of raw.split(/\r\n|\n|\r/)) {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === '') comments.push(value);
    else if (name === 'data') data.push(value);
    else if (name === 'event') fields.event = value;
    else if (name === 'id') fields.id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) fields.retry = Number(value);
    else throw new Error(`not a line of an event stream: ${JSON.stringify(line)}`);
  }
  const fires = data.length > 0;
  return {
    event: fires ? (fields.event ?? 'message') : undefined,
    data: fires ? data.join('\n') : undefined,
    id: fields.id,
    retry: fields.retry,
    comments,
    raw,
    at,
  };
}
