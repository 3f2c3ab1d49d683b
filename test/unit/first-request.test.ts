/** What is taken before Node's HTTP server sees it must be read as that server would read it, and all else be left to it. */
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FirstRequests, readHead } from '../../src/http/first-request.js';
import { type RawConnection, rawConnection } from '../support/raw-http.js';

const SILENCE_MS = 100;
const LINE = 'GET /stream HTTP/1.1\r\n';

let server: Server;
let url: string;
let first: FirstRequests;
let willing = true;
/** Who answered each request, in their order. */
const answers: { by: 'us' | 'node'; headers: IncomingHttpHeaders; body: string }[] = [];
const connections: RawConnection[] = [];

beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request) body += piece;
    answers.push({ by: 'node', headers: request.headers, body });
    response.end('node');
  });
  first = new FirstRequests(server, '/stream', SILENCE_MS, (headers, socket) => {
    if (!willing) return false;
    answers.push({ by: 'us', headers, body: '' });
    socket.end('us');
    return true;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  for (const connection of connections.splice(0)) connection.destroy();
  answers.splice(0);
  willing = true;
});
afterAll(async () => {
  first.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function say(bytes: string): RawConnection {
  const connection = rawConnection(url, bytes);
  connections.push(connection);
  return connection;
}
const answered = (connection: RawConnection) => connection.until(({ text }) => /us|node|HTTP/.test(text));

describe('the first request of a connection', () => {
  it.each([
    ['a plain head', `${LINE}Host: x\r\n\r\n`],
    [
      'a head with everything a browser sends',
      `${LINE}host: x\r\nCookie: a=b; c=d\r\nAccept: */*\r\nDNT:1\r\n\r\n`,
    ],
  ])('is taken: %s', async (_, bytes) => {
    await answered(say(bytes));
    expect(answers).toMatchObject([{ by: 'us' }]);
  });

  it.each([
    ['another path', `GET /stream2 HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['a query', `GET /stream?a=b HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['another method', `POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab`],
    ['HTTP/1.0', `GET /stream HTTP/1.0\r\nHost: x\r\n\r\n`],
    ['a body', `${LINE}Host: x\r\nContent-Length: 2\r\n\r\nab`],
    ['an empty body', `${LINE}Host: x\r\nContent-Length: 0\r\n\r\n`],
    ['a body in chunks', `${LINE}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['an expectation', `${LINE}Host: x\r\nExpect: 100-continue\r\n\r\n`],
    ['a header twice', `${LINE}Host: x\r\nCookie: a=b\r\ncookie: c=d\r\n\r\n`],
    ['bytes beyond ASCII', `${LINE}Host: x\r\nCookie: a=\xff\r\n\r\n`],
    ['a very long head', `${LINE}Host: x\r\nCookie: ${'a'.repeat(9000)}\r\n\r\n`],
    ['no host', `${LINE}Cookie: a=b\r\n\r\n`],
    ['a space in a name', `${LINE}Host: x\r\nCookie : a=b\r\n\r\n`],
    ['a folded header', `${LINE}Host: x\r\nCookie: a=b\r\n c=d\r\n\r\n`],
    ['a lone line feed', `${LINE}Host: x\nCookie: a=b\r\n\r\n`],
    ['no header at all', `${LINE}\r\n`],
  ])('is left to the server: %s', async (_, bytes) => {
    await answered(say(bytes));
    expect(answers.filter(({ by }) => by === 'us')).toEqual([]);
  });

  it('is left to the server where the answer is refused', async () => {
    willing = false;
    await answered(say(`${LINE}Host: x\r\n\r\n`));
    expect(answers).toMatchObject([{ by: 'node', headers: { host: 'x' } }]);
  });

  it('comes whole to the server in however many packets it is sent', async () => {
    const connection = say('GET /str');
    for (const piece of ['eam HTTP/1.1\r\nHo', 'st: x\r\nCookie: a', '=b\r\n\r', '\n']) {
      // Long enough for two packets not to become one; were they one, the test would still hold.
      await new Promise((resolve) => setTimeout(resolve, 5));
      connection.write(piece);
    }
    await answered(connection);
    expect(answers).toMatchObject([{ by: 'node', headers: { host: 'x', cookie: 'a=b' } }]);
  });

  it('comes whole with a body that goes on for many packets, and so do those behind it', async () => {
    const body = 'x'.repeat(3_000_000);
    const connection = say(`POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await answered(connection);
    connection.write(`${LINE}Host: y\r\n\r\n`);
    await expect.poll(() => answers).toMatchObject([{ body }, { by: 'node', headers: { host: 'y' } }]);
  });

  it('may take its time, but not for ever', async () => {
    const begin = performance.now();
    await say('').until(({ closed }) => closed);
    expect(performance.now() - begin).toBeGreaterThanOrEqual(SILENCE_MS * 0.9);
    expect(answers).toEqual([]);
  });
});

it('reads a head as Node does, or not at all', async () => {
  const lineEnd = fc.oneof(
    { weight: 20, arbitrary: fc.constant('\r\n') },
    fc.constantFrom('\n', '\r', '\r\n ', ''),
  );
  const name = fc.oneof(
    fc.constantFrom(
      'Host',
      'Cookie',
      'cookie',
      'X-API-Key',
      'Origin',
      'Last-Event-ID',
      'Connection',
      'Referer',
      '__proto__',
    ),
    fc.string({ maxLength: 5 }),
  );
  const value = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'binary-ascii', maxLength: 6 }));
  const separator = fc.constantFrom(':', ': ', ':  ', ' : ', ':\t');
  const header = fc.tuple(name, separator, value, lineEnd).map((parts) => parts.join(''));
  let read = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(header, { maxLength: 5 }), async (headers) => {
      const head = `${LINE}Host: x\r\n${headers.join('')}\r\n`;
      const ours = readHead(Buffer.from(head, 'latin1'), LINE);
      if (ours === undefined) return;
      read += 1;
      willing = false;
      answers.splice(0);
      await answered(say(head));
      expect(answers).toHaveLength(1);
      expect({ ...ours }).toEqual({ ...answers[0]!.headers });
      connections.pop()!.destroy();
    }),
    { numRuns: 2000 },
  );
  expect(read).toBeGreaterThan(200);
}, 60_000);

it('holds a server up no longer than its last connection that has spoken', async () => {
  const other = createServer();
  const waiting = new FirstRequests(other, '/stream', 60_000, () => false);
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const connection = rawConnection(`http://127.0.0.1:${(other.address() as AddressInfo).port}`, '');
  connections.push(connection);
  await expect
    .poll(() => new Promise((resolve) => other.getConnections((_, count) => resolve(count))))
    .toBe(1);
  waiting.close();
  await new Promise((resolve) => other.close(resolve));
});
