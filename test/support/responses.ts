/** Reads what came on one connection as the sequence of HTTP/1.1 responses that it has to be. */
export interface ReadResponse {
  status: number;
  /** Names in lower case. */
  headers: ReadonlyMap<string, string>;
  /** Without its encoding, as latin1. */
  body: string;
  /** False where the rest has not come (yet). */
  whole: boolean;
}

/**
 * @param bodies false for the answers to HEAD
 * @throws Error where something else stands between or behind them
 */
export function readResponses(bytes: string, bodies = true): ReadResponse[] {
  const responses: ReadResponse[] = [];
  for (let rest = bytes; rest !== ''; ) {
    const headEnd = rest.indexOf('\r\n\r\n');
    const [first = '', ...lines] = (headEnd < 0 ? rest : rest.slice(0, headEnd)).split('\r\n');
    const status = /^HTTP\/1\.1 (\d{3})( |$)/.exec(first)?.[1];
    if (status === undefined) throw new Error(`no response begins with ${JSON.stringify(rest.slice(0, 80))}`);
    const headers = new Map(
      lines.map((line) => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
    );
    if (headEnd < 0) return [...responses, { status: Number(status), headers, body: '', whole: false }];
    const { body, whole, length } = bodies
      ? readBody(Number(status), headers, rest.slice(headEnd + 4))
      : { body: '', whole: true, length: 0 };
    responses.push({ status: Number(status), headers, body, whole });
    rest = rest.slice(headEnd + 4 + length);
  }
  return responses;
}

function readBody(status: number, headers: ReadonlyMap<string, string>, rest: string) {
  if (headers.get('transfer-encoding') === 'chunked') return readChunks(rest);
  const given = headers.get('content-length');
  if (given !== undefined) {
    const length = Number(given);
    return { body: rest.slice(0, length), whole: rest.length >= length, length };
  }
  if (status < 200 || status === 204 || status === 304 || headers.get('connection') !== 'close') {
    return { body: '', whole: true, length: 0 };
  }
  return { body: rest, whole: false, length: rest.length };
}

function readChunks(text: string) {
  let body = '';
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd < 0) return { body, whole: false, length: text.length };
    const size = text.slice(at, lineEnd);
    if (!/^[0-9a-f]+$/i.test(size))
      throw new Error(`no chunk begins with ${JSON.stringify(text.slice(at, at + 80))}`);
    const length = Number.parseInt(size, 16);
    const end = lineEnd + 2 + length;
    if (text.length < end + 2)
      return { body: body + text.slice(lineEnd + 2, end), whole: false, length: text.length };
    if (text.slice(end, end + 2) !== '\r\n') throw new Error(`a chunk of ${length} bytes is longer`);
    body += text.slice(lineEnd + 2, end);
    at = end + 2;
    if (length === 0) return { body, whole: true, length: at };
  }
}
