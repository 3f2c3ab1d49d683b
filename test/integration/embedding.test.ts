/** Lightcone as a part of another program: the examples of docs/embedding.md, and what `lightcone` exports. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Fastify from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import {
  createServer,
  LightconeError,
  type LightconeServer,
  type PublishedEvent,
  type ServerOptions,
} from '../../src/index.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { eventually } from '../support/eventually.js';
import { historyIds, SseClient } from '../support/sse-client.js';

const ROOT = resolve(import.meta.dirname, '../..');
const SECRET = 'the secret of the tests';
const logger = createLogger('silent');

let folder: string;
let releases: (() => unknown)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-embedding-'));
  releases = [];
});
afterEach(async () => {
  for (const release of releases.reverse()) await release();
  rmSync(folder, { recursive: true });
});

async function server(name: string, options: ServerOptions = {}): Promise<LightconeServer> {
  const made = await createServer({
    logger,
    ...options,
    settings: {
      galaxy: {
        database_connection: `sqlite:///${join(folder, name)}.sqlite`,
        id_secret: SECRET,
        ...options.settings?.galaxy,
      },
      sse: { listen: '127.0.0.1:0', ...options.settings?.sse },
    },
  });
  releases.push(() => made.stop());
  return made;
}

async function stream(url: string, options = {}): Promise<SseClient> {
  const client = await SseClient.ready(url, options);
  releases.push(() => client.close());
  return client;
}

async function listening(target: Server): Promise<string> {
  target.listen(0, '127.0.0.1');
  await once(target, 'listening');
  releases.push(() => target.close());
  return `http://127.0.0.1:${(target.address() as AddressInfo).port}`;
}

const asUser = (userId: number): ServerOptions => ({
  authenticate: (request) => (request.headers.authorization === 'mine' ? { userId } : undefined),
});
const MINE = { headers: { authorization: 'mine' } };

describe('the examples of docs/embedding.md', () => {
  /** Beside a `node_modules` as npm makes it, on ports that nobody has. */
  const example = (name: string): string => {
    const page = readFileSync(join(ROOT, 'docs/embedding.md'), 'utf8');
    const [, code] = new RegExp(`<!-- example: ${name} -->\n\`\`\`js\n([^]*?)\`\`\``).exec(page)!;
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(ROOT, join(folder, 'node_modules/lightcone'));
    symlinkSync(join(ROOT, 'node_modules/fastify'), join(folder, 'node_modules/fastify'));
    const file = join(folder, 'example.mjs');
    writeFileSync(file, code!.replace('127.0.0.1:8080', '127.0.0.1:0').replace('port: 8080', 'port: 0'));
    return file;
  };

  it.each([
    ['standalone', '', /Hello/],
    ['mounted', '/live', /ready/],
  ])('%s: serves the stream, and the process ends by itself after stop', async (name, prefix, told) => {
    const child = spawn(process.execPath, [example(name)], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    releases.push(() => child.kill('SIGKILL'));
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const exited = once(child, 'exit');
    const url = await eventually(() => /^http\S+/m.exec(stdout)?.[0], { what: `an address: ${stderr}` });
    const client = await stream(`${url}${prefix}/api/events/stream`, { lastEventId: '2026-01-01T00:00:00' });
    await eventually(() => told.test(client.frames.map(({ event, data }) => `${event} ${data}`).join()), {
      what: `${told}`,
    });
    if (prefix) expect(await (await fetch(url)).text()).toBe('my own page');
    child.kill('SIGTERM');
    expect(await exited, stderr).toEqual([0, null]);
    expect(await client.ended()).toBe('end');
  });
});

describe('a server inside a program', () => {
  it('leaves the process as it is: no signal handler when it is imported, created or started', async () => {
    const count = () => process.eventNames().map((name) => [name, process.listenerCount(name)]);
    const before = count();
    const made = await server('one');
    await made.start();
    expect(count()).toEqual(before);
  });

  it('runs beside another one, and each tells its own tabs only', async () => {
    const [one, two] = await Promise.all([server('one'), server('two')]);
    await Promise.all([one.start(), two.start()]);
    const [ofOne, ofTwo] = await Promise.all([
      stream(`${one.address}/api/events/stream`),
      stream(`${two.address}/api/events/stream`),
    ]);
    await one.publish({ event: 'broadcast_update', subject: 'of one', message: 'text' });
    await two.publish({ event: 'broadcast_update', subject: 'of two', message: 'text' });
    expect((await ofOne.waitFor(({ event }) => event === 'broadcast_update')).data).toContain('of one');
    expect((await ofTwo.waitFor(({ event }) => event === 'broadcast_update')).data).toContain('of two');
    expect([ofOne, ofTwo].map((it) => it.events('broadcast_update').length)).toEqual([1, 1]);
    await one.stop();
    expect((await fetch(`${two.address}/healthz`)).status).toBe(200);
  });

  it('asks its own function who calls, delivers to that user alone, and ends the stream when it says so', async () => {
    const codec = new IdCodec(SECRET);
    let isValid = true;
    const made = await server('one', {
      authenticate: ({ headers }) =>
        headers.authorization === 'mine' ? { userId: 1, isAdmin: true, isValid: () => isValid } : null,
      settings: { sse: { permission_check_interval: 1 } },
    });
    await made.start();
    const url = `${made.address}`;
    await expect(made.publish({ event: 'history_update', historyIds: [1] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const { default: BetterSqlite } = await import('better-sqlite3');
    const db = new BetterSqlite(join(folder, 'one.sqlite'));
    db.exec("INSERT INTO galaxy_user (id, email, password, active, deleted) VALUES (1, 'a@b.c', '', 1, 0)");
    db.exec("INSERT INTO history (id, user_id, name, deleted) VALUES (1, 1, 'mine', 0)");
    db.close();
    const [mine, nobodys] = await Promise.all([
      stream(`${url}/api/events/stream`, MINE),
      stream(`${url}/api/events/stream`),
    ]);
    await made.publish({ event: 'history_update', historyIds: [1] });
    await made.publish({ event: 'notification_update', userIds: [1], subject: 'Done', message: 'text' });
    const frame = await mine.waitFor(({ event }) => event === 'history_update');
    expect(historyIds(frame)).toEqual([codec.encodeId(1)]);
    expect((await mine.waitFor(({ event }) => event === 'notification_update')).data).toContain('Done');
    expect(nobodys.frames.filter(({ event }) => event !== undefined && event !== 'ready')).toEqual([]);
    expect((await fetch(`${url}/api/status`, MINE)).status).toBe(200);
    expect((await fetch(`${url}/api/status`)).status).toBe(403);
    expect((await fetch(`${url}/api/login`, { method: 'POST' })).status).toBe(404);
    isValid = false;
    expect(await mine.ended()).toBe('end');
  });

  it('refuses whom the function refuses, and asks to come back when the function fails', async () => {
    let error: Error = new LightconeError('CREDENTIALS_INVALID', 'your token has expired');
    const made = await server('one', {
      authenticate: () => {
        throw error;
      },
    });
    await made.start();
    const url = `${made.address}/api/events/stream`;
    const refused = await fetch(url);
    expect([refused.status, await refused.json()]).toEqual([
      401,
      { err_msg: 'your token has expired', err_code: 401001 },
    ]);
    error = new Error('our own database is away');
    const later = await fetch(url);
    expect(later.status).toBe(200);
    expect(await later.text()).toMatch(/^: the caller cannot be identified now\nretry:/);
  });

  it('mounted on a server of node:http answers its prefix, leaves all else, and gives the server back', async () => {
    const own = createHttpServer((_, response) => response.end('own'));
    const url = await listening(own);
    const made = await server('one', { ...asUser(1), settings: { galaxy: { galaxy_url_prefix: '/live' } } });
    made.mount(own);
    await made.start();
    expect(made.address).toBeUndefined();
    const text = async (path: string) => (await fetch(url + path)).text();
    expect(await Promise.all(['/', '/lively', '/api/version'].map(text))).toEqual(['own', 'own', 'own']);
    expect((await fetch(`${url}/live/readyz`)).status).toBe(200);
    const client = await stream(`${url}/live/api/events/stream`, MINE);
    await made.publish({ event: 'broadcast_update', subject: 'Hello', message: 'text' });
    await client.waitFor(({ event }) => event === 'broadcast_update');
    await made.stop();
    expect(await client.ended()).toBe('end');
    expect(await text('/live/readyz')).toBe('own');
  });

  it('asks its function once for a request of the API', async () => {
    let asked = 0;
    const made = await server('one', {
      authenticate: () => {
        asked += 1;
        return { isAdmin: true };
      },
    });
    await made.start();
    expect((await fetch(`${made.address}/api/status`)).status).toBe(200);
    expect(asked).toBe(1);
  });

  it('serves others while the function does not answer for one caller', async () => {
    const made = await server('one', {
      authenticate: ({ headers }) =>
        headers.authorization === 'slow' ? new Promise(() => {}) : { userId: 1 },
    });
    await made.start();
    const slow = new AbortController();
    const waiting = fetch(`${made.address}/api/whoami`, {
      headers: { authorization: 'slow' },
      signal: slow.signal,
    }).catch(() => 'given up');
    expect((await fetch(`${made.address}/api/whoami`)).status).toBe(200);
    await stream(`${made.address}/api/events/stream`);
    slow.abort();
    expect(await waiting).toBe('given up');
  });

  it.each(['node:http', 'Fastify'])(
    'mounted on %s ends its streams and stops when that server is closed',
    async (kind) => {
      const made = await server('one', { settings: { galaxy: { galaxy_url_prefix: '/live' } } });
      const fastify = Fastify();
      const own = kind === 'Fastify' ? fastify.server : createHttpServer();
      made.mount(kind === 'Fastify' ? fastify : own);
      await made.start();
      if (kind === 'Fastify') await fastify.listen({ port: 0, host: '127.0.0.1' });
      else await listening(own);
      const client = await stream(
        `http://127.0.0.1:${(own.address() as AddressInfo).port}/live/api/events/stream`,
      );
      await (kind === 'Fastify' ? fastify.close() : new Promise((done) => own.close(done)));
      expect(await client.ended()).toBe('end');
      await made.stop();
      await expect(
        made.publish({ event: 'broadcast_update', subject: 'a', message: 'b' }),
      ).rejects.toMatchObject({ code: 'NOT_NOW' });
    },
  );

  it('mounted beside listeners that come before and after it, answers its own paths once', async () => {
    const own = createHttpServer((_, response) => response.end('before'));
    const url = await listening(own);
    const made = await server('one', { settings: { galaxy: { galaxy_url_prefix: '/live' } } });
    made.mount(own);
    const seen: (string | undefined)[] = [];
    own.on('request', (request) => seen.push(request.url));
    await made.start();
    expect((await fetch(`${url}/live/api/version`)).status).toBe(200);
    expect(await (await fetch(`${url}/other`)).text()).toBe('before');
    await made.stop();
    await fetch(`${url}/live/api/version`);
    expect(seen).toEqual(['/other', '/live/api/version']);
    expect(Object.keys(own)).not.toContain('emit');
  });
});

it('programs that share a broker have different names, without a setting', async () => {
  const made = await server('one', {
    settings: { galaxy: { amqp_internal_connection: 'amqp://localhost' } },
  });
  const { worker } = made as unknown as { worker: { report(): { process: string } } };
  expect(worker.report().process).toBe(`main.${process.pid}`);
  const alone = await server('two');
  expect((alone as unknown as typeof made & { worker: typeof worker }).worker.report().process).toBe('main');
});

describe('import', () => {
  const script = async (code: string) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: ROOT });
    let said = '';
    for (const out of [child.stdout, child.stderr]) out.on('data', (text: Buffer) => (said += text));
    const [exitCode] = await once(child, 'exit');
    return { said, exitCode };
  };

  it('has no effect on the process', async () => {
    const state =
      '[process.eventNames(), Object.keys(globalThis), process.umask(), process.title, process.getActiveResourcesInfo(), process.env]';
    const { said, exitCode } = await script(`
      const before = JSON.stringify(${state});
      await import('lightcone');
      console.log(JSON.stringify(${state}) === before);`);
    expect({ said, exitCode }).toEqual({ said: 'true\n', exitCode: 0 });
  });

  it('on a Node.js that is too old is an error that says what is needed', async () => {
    const { said } = await script(`
      Object.defineProperty(process.versions, 'node', { value: '20.20.2' });
      await import('lightcone').catch((error) => console.log(error.constructor.name, error.message));`);
    expect(said).toMatch(
      /^Error Lightcone needs Node\.js 22 or newer, this is 20\.20\.2: install Node\.js 24 /,
    );
  });
});

describe('a mistake is told', () => {
  const refused = async (options: unknown): Promise<string> => {
    const error = await createServer(options as ServerOptions).catch((it: unknown) => it);
    expect(error).toBeInstanceOf(LightconeError);
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    return (error as Error).message;
  };

  it.each([
    [{ setings: {} }, /no option setings; the options are settings, authenticate, logger/],
    [{ authenticate: 'alice' }, /authenticate must be a function/],
    [{ settings: { database_connection: 'sqlite:///x' } }, /settings must be \{ galaxy/],
    [
      { settings: { sse: { queue_size: 0, lisen: ':1' } } },
      /sse\.queue_size: must be [\s\S]*sse\.lisen: .*did you mean listen/,
    ],
    [
      { settings: { sse: { workers: 2 }, galaxy: { amqp_internal_connection: 'amqp://x' } } },
      /an embedded server is one worker/,
    ],
    [null, /takes one options object/],
    [
      { settings: { galaxy: { galaxy_url_prefix: 'live' } } },
      /galaxy_url_prefix: must be a path that begins with \//,
    ],
  ])('createServer(%j)', async (options, message) => {
    expect(await refused(options)).toMatch(message);
  });

  it('a mount without a prefix, on no server, with the known secret, or after the start', async () => {
    const plain = await server('one');
    expect(() => plain.mount(createHttpServer())).toThrow(/galaxy_url_prefix/);
    expect(() => plain.mount({ server: 1 })).toThrow(/takes a server of node:http/);
    const galaxy = { galaxy_url_prefix: '/live' };
    const [first, second] = [
      await server('three', { settings: { galaxy } }),
      await server('four', { settings: { galaxy } }),
    ];
    const target = createHttpServer();
    first.mount(target);
    expect(() => first.mount(target)).toThrow(/\/live of this server is already mounted/);
    expect(() => second.mount(target)).toThrow(/already mounted/);
    await first.stop();
    second.mount(target);
    const known = await server('two', {
      settings: { galaxy: { galaxy_url_prefix: '/live', id_secret: 'USING THE DEFAULT IS NOT SECURE!' } },
    });
    expect(() => known.mount(createHttpServer())).toThrow(/id_secret/);
    await plain.start();
    expect(() => plain.mount(createHttpServer())).toThrow(/before start/);
  });

  it('an event that is none, before the start, a second start, and a start after the stop', async () => {
    const made = await server('one');
    const broadcast = { event: 'broadcast_update', subject: 'a', message: 'b' } as const;
    await expect(made.publish(broadcast)).rejects.toMatchObject({ code: 'NOT_NOW' });
    await Promise.all([made.start(), made.start()]);
    const { address } = made;
    await made.start();
    expect(made.address).toBe(address);
    for (const [event, message] of [
      [{ event: 'other' }, /event is "other"; it is history_update/],
      [{ event: 'history_update', historyIds: [] }, /historyIds must be a list/],
      [{ event: 'history_update', historyIds: [2 ** 31] }, /historyIds must be a list/],
      [{ ...broadcast, subject: '' }, /subject must be text/],
      [{ ...broadcast, variant: 'loud' }, /variant must be/],
      [undefined, /event is undefined/],
    ] as const) {
      await expect(made.publish(event as unknown as PublishedEvent)).rejects.toThrow(message);
    }
    await made.stop();
    await made.stop();
    const again = await server('two');
    await again.stop();
    await expect(again.start()).rejects.toMatchObject({ code: 'NOT_NOW' });
  });
});
