/**
 * Every route of the API with paths, queries, headers, cookies and bodies that nobody expects: each is answered, in the form
 * of the contract, without a server error, and nobody is told of it whom it does not concern.
 */
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { type ReadResponse, readResponses } from '../support/responses.js';
import { EVERYTHING } from '../support/rest.js';
import type { SseClient } from '../support/sse-client.js';
import {
  anyJson,
  fuzz,
  HANGS_MS,
  inputs,
  mutate,
  mutateJson,
  type Random,
  report,
  TIMEOUT_MS,
} from './fuzz.js';

let here: Installation;
let worker: RunningWorker;
let port: number;
let operations: Operation[];
const idle: Connection[] = [];

beforeAll(async () => {
  here = Installation.embedded();
  worker = await here.worker({
    ...EVERYTHING,
    sse: { api_rate_limit: 0, max_connections_per_user: 10_000 },
  });
  port = Number(new URL(worker.url).port);
  operations = await everyOperation();
  expect(operations.length).toBeGreaterThan(50);
});
afterAll(async () => {
  for (const connection of idle) connection.destroy();
  await here.close();
});

interface Operation {
  method: string;
  /** With `{placeholders}`. */
  path: string;
  /** A body that its schema takes, if it takes one. */
  body: unknown;
}

async function everyOperation(): Promise<Operation[]> {
  const response = await fetch(`${worker.url}/api/openapi.json`);
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, Described>> };
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      body: requestBody && exampleOf(Object.values(requestBody.content)[0]!.schema),
    })),
  );
  const others = [
    '/',
    '/status',
    '/metrics',
    '/healthz',
    '/readyz',
    '/api/docs/',
    '/assets/web/api.js',
    '/api/events/stream',
  ];
  return [...described, ...others.map((path) => ({ method: 'GET', path, body: undefined }))];
}

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
}
interface Described {
  requestBody?: { content: Record<string, { schema: Schema }> };
}

function exampleOf(schema: Schema): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return exampleOf(schema.anyOf[0]!);
  if (schema.properties)
    return Object.fromEntries(
      Object.entries(schema.properties).map(([key, value]) => [key, exampleOf(value)]),
    );
  if (schema.type === 'array') return schema.items ? [exampleOf(schema.items)] : [];
  const simple: Record<string, unknown> = { integer: 1, number: 1.5, boolean: true, null: null, object: {} };
  if (schema.type !== undefined && schema.type in simple) return simple[schema.type];
  return schema.format === 'date-time' ? '2026-07-01T12:34:56' : 'text';
}

/** One connection that is kept alive; one request at a time. */
class Connection {
  private text = '';
  private head = false;
  private waiting: { resolve: (response: ReadResponse) => void; reject: (error: Error) => void } | undefined;
  private timer: NodeJS.Timeout | undefined;
  usable = true;
  private readonly socket: Socket;

  constructor() {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.setEncoding('latin1').on('data', (more: string) => {
      this.text += more;
      const response = readResponses(this.answered(), !this.head).find(({ status }) => status !== 100);
      if (response?.headers.get('content-type') === 'text/event-stream') this.usable = false;
      const begun = response && !this.usable && /\n\n/.test(response.body);
      if (response?.whole || begun) this.answer(response!);
    });
    this.socket
      .on('error', () => {})
      .on('close', () => {
        this.usable = false;
        this.waiting?.reject(
          new Error(`the connection ended without an answer: ${JSON.stringify(this.text)}`),
        );
      });
  }

  say(bytes: string): Promise<ReadResponse> {
    this.text = '';
    this.head = bytes.startsWith('HEAD ');
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.timer = setTimeout(
        () => reject(new Error(`no answer; came: ${JSON.stringify(this.text)}`)),
        HANGS_MS,
      );
      this.socket.write(bytes, 'latin1');
    });
  }

  /** A refusal of what is no HTTP has a body, also where it was to be a HEAD. */
  private answered(): string {
    const headEnd = this.text.indexOf('\r\n\r\n');
    return this.head && headEnd > 0 ? this.text.slice(0, headEnd + 4) : this.text;
  }

  private answer(response: ReadResponse): void {
    clearTimeout(this.timer);
    if (response.headers.get('connection') === 'close') this.usable = false;
    this.waiting?.resolve(response);
    this.waiting = undefined;
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.waiting = undefined;
    this.socket.destroy();
  }
}

async function ask(bytes: string): Promise<ReadResponse> {
  let connection = idle.pop();
  while (connection && !connection.usable) connection = idle.pop();
  connection ??= new Connection();
  const response = await connection.say(bytes);
  if (connection.usable) idle.push(connection);
  else connection.destroy();
  return response;
}

// --- what is asked ---------------------------------------------------------------------------------------------------

/** In a line of a head: Node's parser ends the connection for others, which is another test's. */
const inLine = (text: string): string =>
  [...text].filter((it) => it === '\t' || (it >= ' ' && it !== '\x7f')).join('');
const inPath = (text: string): string => inLine(text).replace(/[ \t#]/g, '%20');

function urlOf(random: Random, path: string): string {
  const ids = [
    here.encode(random.below(6)),
    here.encode(DEMO.histories.alice),
    '0',
    '-1',
    'x',
    '%00',
    '..',
    'é',
  ];
  const filled = path.replace(/\{[^}]*\}/g, () =>
    random.chance(0.7) ? random.pick(ids) : encodeURIComponent(mutate(random, ids)),
  );
  const queries = [
    'limit=10',
    'offset=0',
    'view=detailed',
    'q=update_time-gt&qv=2026-07-01T12:34:56',
    'keys=version,id',
  ];
  const query = random.chance(0.4)
    ? `?${inPath(mutate(random, queries))}`
    : random.chance(0.3)
      ? `?${random.pick(queries)}`
      : '';
  return inPath(random.chance(0.1) ? mutate(random, [filled]) : filled) + query;
}

function request(random: Random, { method, path, body }: Operation, headers: string): string {
  const type = random.chance(0.9)
    ? 'application/json'
    : inLine(mutate(random, ['application/json; charset=utf-8', 'text/plain']));
  const sent = body === undefined && random.chance(0.9) ? undefined : bodyOf(random, body);
  const target = urlOf(random, path);
  const verb = random.chance(0.95)
    ? method
    : random.pick(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
  const about = sent === undefined ? '' : `Content-Type: ${type}\r\nContent-Length: ${sent.length}\r\n`;
  return `${verb} ${target.startsWith('/') ? '' : '/'}${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${headers}${about}\r\n${sent ?? ''}`;
}

const utf8 = (value: unknown): string => Buffer.from(JSON.stringify(value) ?? '').toString('latin1');
function bodyOf(random: Random, example: unknown): string {
  if (example === undefined || random.chance(0.1)) return utf8(anyJson(random));
  if (random.chance(0.7))
    return utf8(
      random.chance(0.5) ? mutateJson(random, mutateJson(random, example)) : mutateJson(random, example),
    );
  return mutate(random, [utf8(example)]);
}

/** Their 503 is an answer: a machine that stood still for seconds had no monitor meanwhile. Afterwards it is 200 again. */
const PROBE = /^[A-Z]+ \/(healthz|readyz|wellz)[/? ]/;

function judge(bytes: string, { status, headers, body }: ReadResponse): void {
  if (status === 503 && PROBE.test(bytes)) return;
  if (status >= 500 && status !== 505) throw new Error(`${status}: ${body}`);
  if (status >= 400 && !bytes.startsWith('HEAD') && headers.get('content-type')?.includes('json')) {
    expect(JSON.parse(Buffer.from(body, 'latin1').toString())).toMatchObject({
      err_msg: expect.any(String),
      err_code: expect.any(Number),
    });
  }
}

/** What Node's own parser refuses ends the connection behind its answer: that is no server error either. */
async function judged(bytes: string): Promise<ReadResponse> {
  const response = await ask(bytes);
  judge(bytes, response);
  return response;
}

const toldNothing = (stream: SseClient): void => {
  const events = stream.frames.filter(({ event }) => event !== undefined && event !== 'ready');
  expect(events, 'events for somebody whom nothing concerned').toEqual([]);
};

// --- the tests -------------------------------------------------------------------------------------------------------

describe('every route', () => {
  it.each([
    ['nobody', '', 1_200],
    ['a user', 'x-api-key: demo-alice\r\n', 1_200],
    ['an administrator', 'x-api-key: demo-admin\r\n', 800],
  ])('answers whatever %s asks', { timeout: TIMEOUT_MS }, async (who, headers, short) => {
    const bob = await here.stream(worker.url, 'key=demo-bob');
    const stranger = await here.stream(worker.url, '');
    const statuses = new Map<number, number>();
    const tally = await fuzz(
      inputs(short),
      async (random, seen) => {
        const bytes = request(random, random.pick(operations), headers);
        seen(bytes);
        const { status } = await judged(bytes);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      },
      { atOnce: 8, salt: short + headers.length },
    );
    // Notifications are an administrator's to send.
    if (who !== 'an administrator') for (const stream of [bob, stranger]) toldNothing(stream);
    here.closeStreams();
    await expect.poll(async () => (await fetch(`${worker.url}/wellz`)).status, { timeout: 20_000 }).toBe(200);
    report(
      `every route, asked by ${who}`,
      tally,
      [...statuses]
        .sort()
        .map((pair) => pair.join(': '))
        .join(', '),
    );
  });
});

describe('a body of JSON', () => {
  it('is taken or refused', { timeout: TIMEOUT_MS }, async () => {
    const withBody = operations.filter(({ body }) => body !== undefined);
    expect(withBody.length).toBeGreaterThan(10);
    const tally = await fuzz(
      inputs(800),
      async (random, seen) => {
        const { method, path, body } = random.pick(withBody);
        const sent = bodyOf(random, body);
        const target = path.replace(/\{[^}]*\}/g, here.encode(DEMO.histories.alice));
        const bytes = `${method} ${target} HTTP/1.1\r\nHost: x\r\nx-api-key: demo-alice\r\nContent-Type: application/json\r\nContent-Length: ${sent.length}\r\n\r\n${sent}`;
        seen(bytes);
        await judged(bytes);
      },
      { atOnce: 8, salt: 7 },
    );
    report('JSON bodies', tally);
  });
});

describe('a cookie or a key', () => {
  it('makes somebody of its holder only', { timeout: TIMEOUT_MS }, async () => {
    const valid = (await here.cookieOf(DEMO.anonymousSession)).cookie;
    const cookies = [valid, `a=b; ${valid}; c="d"`, `galaxysession="${'0'.repeat(48)}"`];
    let refused = 0;
    const tally = await fuzz(
      inputs(800),
      async (random, seen) => {
        const header = random.chance(0.8)
          ? `Cookie: ${inLine(mutate(random, cookies))}`
          : `x-api-key: ${inLine(mutate(random, ['demo-alice', 'bootstrap-key']))}`;
        const bytes = `GET /api/whoami HTTP/1.1\r\nHost: x\r\n${header}\r\n\r\n`;
        seen(bytes);
        const { status, body } = await judged(bytes);
        if (status !== 200) {
          refused += 1;
          return;
        }
        const shown = /demo-alice\s*$|bootstrap-key\s*$/.test(header.trim());
        const { email } = (JSON.parse(body) ?? {}) as { email?: string };
        if (email !== undefined && !shown) throw new Error(`it is taken for ${email}`);
      },
      { atOnce: 8, salt: 9 },
    );
    report('cookies and keys', tally, `${refused} refused`);
  });
});

describe('a Last-Event-ID of a stream', () => {
  it('brings what concerns its user', { timeout: TIMEOUT_MS }, async () => {
    await here.change(DEMO.histories.alice);
    await here.change(DEMO.histories.bob);
    const rows = await here.sql<{ id: number }>(`SELECT id FROM history WHERE user_id = ${DEMO.users.alice}`);
    const own = rows.map(({ id }) => here.encode(id));
    const corpus = ['2026-07-01T12:34:56.789012', '2020-01-01T00:00:00', '2026-07-01T12:34:56+02:00'];
    const tally = await fuzz(
      inputs(500),
      async (random, seen) => {
        const id = inLine(mutate(random, corpus));
        const bytes = `GET /api/events/stream HTTP/1.1\r\nHost: x\r\nx-api-key: demo-alice\r\nLast-Event-ID: ${id}\r\n\r\n`;
        seen(bytes);
        const { status, body } = await judged(bytes);
        expect(status).toBe(200);
        expect(body).toMatch(/^retry: \d+\n\nevent: ready\ndata: \{\}\nid: \d{4}-\d\d-\d\dT[0-9:.]+\n\n/);
        for (const [, ids] of body.matchAll(/"history_ids":(\[[^\]]*\])/g))
          expect(own).toEqual(expect.arrayContaining(JSON.parse(ids!)));
      },
      { atOnce: 8, salt: 11 },
    );
    await expect.poll(() => worker.worker.manager.registry.all.length, { timeout: 10_000 }).toBe(0);
    report('Last-Event-ID of streams', tally);
  });
});
