/**
 * The embedded default under use while all garbage is collected again and again: nothing aborts, and memory stays flat.
 * A minute in CI; `LIGHTCONE_SOAK=long npm run test:soak` sends 100,000 requests and opens 1,000 streams.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { SseClient } from '../support/sse-client.js';

const LONG = process.env.LIGHTCONE_SOAK === 'long';
const REQUESTS = LONG ? 100_000 : 2_000;
const STREAMS = LONG ? 1_000 : 20;
const AT_LEAST_MS = LONG ? 0 : 60_000;
const TIME_LIMIT_MS = 90 * 60_000;
/** What may come on top between the first third and the end: the memory of recent deliveries, and noise. */
const GROWTH_MIB = 8;
const MIB = 1024 * 1024;
const DIST = resolve(import.meta.dirname, '../../dist');

interface Memory {
  heapUsed: number;
  external: number;
  rss: number;
}

const agent = new Agent({ keepAlive: true });
let folder: string;
let server: ChildProcess;
let said = '';
const samples: Memory[] = [];
let requests = 0;
let streams = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-soak-'));
});
afterAll(async () => {
  agent.destroy();
  if (server?.exitCode === null && server.signalCode === null) {
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<string> {
  const collect = pathToFileURL(join(import.meta.dirname, 'collect.mjs')).href;
  const flags = ['serve', '--demo', '--listen', '127.0.0.1:0', '--api-rate-limit', '0'];
  server = spawn(process.execPath, ['--expose-gc', '--import', collect, join(DIST, 'cli.js'), ...flags], {
    cwd: folder,
    // Not ours: LIGHTCONE_SOAK is no setting.
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  server.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  createInterface(server.stdio[3] as NodeJS.ReadableStream).on('line', (line) =>
    samples.push(JSON.parse(line)),
  );
  const address = () => {
    if (server.exitCode !== null) throw new Error(said);
    return /"address":"([^"]+)"[^\n]*"msg":"ready"/.exec(said)?.[1] ?? false;
  };
  return eventually(address, { within: 20_000, what: 'ready' });
}

/** What the page of a user and the tools beside it send. */
async function ask(url: string, turn: number): Promise<void> {
  const key = { 'x-api-key': turn % 3 === 0 ? 'demo-bob' : 'demo-alice' };
  const json = { ...key, 'content-type': 'application/json' };
  const send = async (path: string, method = 'GET', headers: Record<string, string> = key, body = '') => {
    const sent = request(url + path, { agent, method, headers }).end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const text = Buffer.concat(await response.toArray()).toString();
    requests += 1;
    if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode} ${text}`);
    return text;
  };
  const histories = JSON.parse(await send('/api/histories?limit=10')) as { id: string }[];
  const history = `/api/histories/${histories[0]!.id}`;
  await send(history);
  await send(`${history}/contents?limit=10`);
  await send('/history/current_history_json');
  await send('/api/notifications?limit=10');
  await send(`/api/notifications/status?since=${new Date().toISOString().slice(0, 19)}`);
  await send('/api/whoami');
  await send('/api/configuration');
  await send(history, 'PUT', json, JSON.stringify({ name: `turn ${turn}` }));
  await send('/healthz', 'GET', {});
}

/** Databases opened and closed, their objects left to the collector, in a process of its own. */
async function openAndClose(times: number): Promise<number> {
  const script = `
    import { SqliteDatabase } from '${pathToFileURL(join(DIST, 'database/sqlite/database.js')).href}';
    import { createLogger } from '${pathToFileURL(join(DIST, 'telemetry/logger.js')).href}';
    const logger = createLogger('silent');
    for (let i = 0; i < ${times}; i += 1) {
      const db = new SqliteDatabase({ file: 'opened.sqlite', logger });
      await db.start();
      await db.all('SELECT 1');
      await db.stop();
      if (i % 5 === 0) gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    gc();
    console.log(${times});`;
  const args = ['--expose-gc', '--input-type=module', '-e', script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
  return Number(stdout);
}

const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
const mib = (pick: (memory: Memory) => number, part: Memory[]) => median(part.map(pick)) / MIB;

it(
  `${REQUESTS} requests and ${STREAMS} streams, with forced collections: alive, and memory flat`,
  async () => {
    const url = await start();
    const begin = performance.now();
    const busy = () =>
      server.exitCode === null &&
      server.signalCode === null &&
      (requests < REQUESTS || streams < STREAMS || performance.now() - begin < AT_LEAST_MS);
    const asking = async (first: number) => {
      for (let turn = first; busy(); turn += 8) await ask(url, turn);
    };
    const streaming = async () => {
      while (busy()) {
        const stream = await SseClient.ready(`${url}/api/events/stream?key=demo-alice`);
        await stream.waitFor((frame) => frame.event === 'history_update', { within: 20_000 });
        await stream.close();
        streams += 1;
        // Where the requests are the longer part, the streams are spread over them.
        const share = (STREAMS * requests) / REQUESTS;
        if (streams > share && LONG) await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    await Promise.all([...Array.from({ length: 8 }, (_, i) => asking(i)), streaming(), streaming()]);

    expect({ code: server.exitCode, signal: server.signalCode, said: said.slice(-2_000) }).toMatchObject({
      code: null,
      signal: null,
    });
    const third = Math.floor(samples.length / 3);
    const [early, late] = [samples.slice(third, 2 * third), samples.slice(-third)];
    const figures = [early, late].map((part) => ({
      heap: mib((memory) => memory.heapUsed + memory.external, part),
      resident: mib((memory) => memory.rss, part),
    }));
    const [middle, end] = figures as [(typeof figures)[0], (typeof figures)[0]];
    console.log(
      `soak on ${process.version}: ${requests} requests, ${streams} streams, ${samples.length} collections in ` +
        `${Math.round((performance.now() - begin) / 1000)} s; heap ${middle.heap.toFixed(1)} then ${end.heap.toFixed(1)} MiB, ` +
        `resident ${middle.resident.toFixed(1)} then ${end.resident.toFixed(1)} MiB (medians of the middle and the last third)`,
    );
    expect(samples.length).toBeGreaterThan(30);
    expect(end.heap - middle.heap).toBeLessThan(GROWTH_MIB);
    expect(end.resident - middle.resident).toBeLessThan(2 * GROWTH_MIB);

    server.kill('SIGTERM');
    const [code] = await once(server, 'exit');
    expect(code).toBe(0);
  },
  TIME_LIMIT_MS,
);

it('databases opened and closed, with forced collections: nothing aborts', async () => {
  expect(await openAndClose(LONG ? 2_000 : 300)).toBe(LONG ? 2_000 : 300);
}, 300_000);
