/** Requests that HTTP parsers have read in two ways, and what must hold of the answers on their connection. */
import { expect } from 'vitest';
import { readResponses } from '../support/responses.js';
import type { Random } from './fuzz.js';

const STREAM = '/api/events/stream';

/** A request with what it is known by in its answer. */
export interface Said {
  bytes: string;
  /** In the message of its 404; undefined for a stream. */
  marker: string | undefined;
  /** Nothing about it can be read in two ways, so its answer is certain. */
  plain: boolean;
}
let number = 0;

export function request(random: Random): Said {
  number += 1;
  const marker = random.chance(0.45) ? undefined : `x${number}x`;
  const path = marker === undefined ? STREAM : `/api/${marker}`;
  const oddities = random.chance(0.5) ? [] : random.many(2, () => random.pick(ODD));
  const odd = oddities.map((make) => make(path));
  const method = marker !== undefined && random.chance(0.3) ? 'POST' : 'GET';
  const line = odd.find((it) => it.line)?.line ?? `${method} ${path} HTTP/1.1\r\n`;
  const headers = odd.map((it) => it.headers ?? '').join('');
  const host = odd.some((it) => it.line?.includes('HTTP/1.0')) && random.chance(0.5) ? '' : 'Host: x\r\n';
  const body = odd.map((it) => it.body ?? '').join('');
  return { bytes: `${line}${host}${headers}\r\n${body}`, marker, plain: odd.length === 0 };
}

type Odd = (path: string) => { line?: string; headers?: string; body?: string };
const ODD: readonly Odd[] = [
  () => ({ headers: 'Content-Length: 3\r\n', body: 'abc' }),
  () => ({ headers: 'Content-Length: 0\r\n' }),
  () => ({ headers: 'Content-Length: 30\r\n', body: 'GET /api/smuggled HTTP/1.1\r\n\r\n' }),
  () => ({ headers: 'Content-Length: 3\r\nContent-Length: 3\r\n', body: 'abc' }),
  () => ({ headers: 'Content-Length: 3\r\nContent-Length: 4\r\n', body: 'abcd' }),
  () => ({ headers: 'Content-Length: +3\r\n', body: 'abc' }),
  () => ({ headers: 'Transfer-Encoding: chunked\r\n', body: '3\r\nabc\r\n0\r\n\r\n' }),
  () => ({ headers: 'Transfer-Encoding: chunked\r\n', body: '3;x="\r\n"\r\nabc\r\n0\r\nA: b\r\n\r\n' }),
  () => ({ headers: 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', body: '0\r\n\r\n' }),
  () => ({ headers: 'Transfer-Encoding: xchunked\r\n', body: '0\r\n\r\n' }),
  ...[
    'identity',
    'gzip, chunked',
    'chunked, identity',
    'identity, chunked',
    '\x0bchunked',
    'chunked\r\nTransfer-Encoding: x',
  ].map(
    (coding): Odd =>
      () => ({ headers: `Transfer-Encoding: ${coding}\r\n`, body: '0\r\n\r\n' }),
  ),
  ...[
    'FFFFFFFFFFFFFFFFF\r\nabc',
    'FFFFFFFFFFFFFFF\r\nabc',
    ' 3\r\nabc\r\n0\r\n\r\n',
    '0x3\r\nabc\r\n0\r\n\r\n',
    '3\nabc\n0\n\n',
    `3;${'x'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`,
    '0\r\nx-api-key: demo-admin\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n',
    `0\r\n${'A: b\r\n'.repeat(4_000)}\r\n`,
  ].map(
    (body): Odd =>
      () => ({ headers: 'Transfer-Encoding: chunked\r\n', body }),
  ),
  () => ({ headers: 'Content-Length: 3, 3\r\n', body: 'abc' }),
  () => ({ headers: 'Connection: close, keep-alive\r\n' }),
  () => ({ headers: 'Connection: keep-alive, Transfer-Encoding, Host, Content-Length\r\n' }),
  () => ({ headers: 'Range: bytes=0-3,1-\r\nIf-None-Match: *\r\nIf-Modified-Since: x\r\n' }),
  () => ({ headers: `Last-Event-ID: ${'2'.repeat(15_000)}\r\n` }),
  () => ({ headers: `Cookie: galaxysession=${'a'.repeat(64_000)}\r\n` }),
  () => ({ headers: 'a:\r\n'.repeat(2_100) }),
  () => ({ headers: 'Transfer-Encoding : chunked\r\n', body: '0\r\n\r\n' }),
  () => ({ headers: 'X: a\r\n folded\r\n' }),
  () => ({ headers: 'X: a\nY: b\r\n' }),
  () => ({ headers: 'X: a\0b\r\n' }),
  () => ({ headers: 'X: \xe9\xff\r\n' }),
  () => ({ headers: 'X\xe9: a\r\n' }),
  () => ({ headers: 'Host: y\r\n' }),
  () => ({ headers: 'Cookie: a=b\r\nCookie: galaxysession=00\r\n' }),
  () => ({ headers: 'Last-Event-ID: 2026-01-01T00:00:00\r\nLast-Event-ID: x, y\r\n' }),
  () => ({ headers: 'Expect: 100-continue\r\n' }),
  () => ({ headers: 'Expect: something\r\n' }),
  () => ({ headers: 'Connection: Upgrade\r\nUpgrade: websocket\r\n' }),
  () => ({ headers: 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n' }),
  () => ({ headers: 'Connection: close\r\n' }),
  () => ({ headers: `X: ${'a'.repeat(20_000)}\r\n` }),
  (path) => ({ line: `GET http://x${path} HTTP/1.1\r\n` }),
  (path) => ({ line: `GET ${path} HTTP/1.0\r\n` }),
  (path) => ({ line: `GET ${path} HTTP/1.0\r\n`, headers: 'Connection: keep-alive\r\n' }),
  (path) => ({ line: `GET ${path}\r\n` }),
  (path) => ({ line: `GET ${path} HTTP/2.0\r\n` }),
  (path) => ({ line: `GET  ${path}  HTTP/1.1\r\n` }),
  (path) => ({ line: `GET ${path} HTTP/1.1\n` }),
  (path) => ({ line: `\r\n\r\nGET ${path} HTTP/1.1\r\n` }),
  (path) => ({ line: `get ${path} HTTP/1.1\r\n` }),
  (path) => ({ line: `CONNECT ${path} HTTP/1.1\r\n` }),
  () => ({ line: 'PRI * HTTP/2.0\r\n' }),
  () => ({ line: 'OPTIONS * HTTP/1.1\r\n' }),
  () => ({ body: '\0garbage\r\n\r\n' }),
  () => ({ body: '\r\n' }),
];

const STREAM_LINE = /^(retry: \d+|event: ready|data: \{\}|id: [-0-9T:.]+|: [a-z ]+)?$/;

/**
 * @param options.proxied a proxy in front refuses what it will not forward, in words and with a status of its own
 * @returns whether a stream came
 */
export function judge(said: readonly Said[], text: string, { proxied = false } = {}): boolean {
  const responses = readResponses(text).filter(({ status }) => status !== 100);
  let last = -1;
  for (const [index, { status, headers, body, whole }] of responses.entries()) {
    if (!proxied) expect(status, 'a server error').toBeLessThan(status === 505 ? 506 : 500);
    // One that only says "come back later" ends by itself, and others may follow.
    if (headers.get('content-type') === 'text/event-stream' && !whole) {
      expect(index, 'an answer behind a stream').toBe(responses.length - 1);
      for (const line of body.split('\n')) expect(line, 'a foreign line in a stream').toMatch(STREAM_LINE);
      const streams = said.flatMap(({ marker }, at) => (marker === undefined && at > last ? [at] : []));
      expect(streams.length, 'a stream that nobody asked for').toBeGreaterThan(0);
      if (said.slice(0, index + 1).every(({ plain }) => plain)) expect(said[index]?.marker).toBeUndefined();
      return true;
    }
    const marker = /x\d+x/.exec(body)?.[0];
    // With nothing odd as far as here, the place is this request's and no other's, a refusal's neither.
    if (said.slice(0, index + 1).every(({ plain }) => plain)) expect(marker).toBe(said[index]!.marker);
    if (marker === undefined) continue;
    const at = said.findIndex((it) => it.marker === marker);
    expect(at, `the answer to ${marker}, which was said elsewhere, or before another`).toBeGreaterThan(last);
    last = at;
  }
  return false;
}

/** In pieces, at random places. */
export function split(random: Random, bytes: string): string[] {
  const cuts = random.many(4, () => random.below(bytes.length)).sort((a, b) => a - b);
  return [...cuts, bytes.length]
    .map((end, i) => bytes.slice(i === 0 ? 0 : cuts[i - 1], end))
    .filter((it) => it !== '');
}
