/** Blocks of an event stream, as the HTML standard cuts them, comments and all. The decoder before it takes a BOM away. */
export interface Block {
  /** Undefined for a block without data: a comment, `retry:` or `id:` alone. */
  readonly event: string | undefined;
  readonly data: string;
  readonly id: string | undefined;
  readonly retry: number | undefined;
}

export class BlockParser {
  #rest = '';

  /** @returns the blocks that this text completes */
  push(text: string): Block[] {
    this.#rest += text;
    const blocks: Block[] = [];
    // A lone CR at the very end may be half of a CRLF.
    const ends = /(?:\r\n|\n|\r(?!\n|$)){2}/g;
    let from = 0;
    for (let match = ends.exec(this.#rest); match; match = ends.exec(this.#rest)) {
      blocks.push(parse(this.#rest.slice(from, match.index)));
      from = ends.lastIndex;
    }
    this.#rest = this.#rest.slice(from);
    return blocks;
  }
}

function parse(text: string): Block {
  let event: string | undefined;
  let id: string | undefined;
  let retry: number | undefined;
  const data: string[] = [];
  for (const line of text.split(/\r\n|\n|\r/)) {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id' && !value.includes('\0')) id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) retry = Number(value);
  }
  return { event: data.length === 0 ? undefined : event || 'message', data: data.join('\n'), id, retry };
}
