/** A log that nobody reads: a real pipe, a real socket, the real program. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';

const DIST = resolve(import.meta.dirname, '../../dist');
let folder: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-log-'));
});
afterEach(() => {
  if (child && child.exitCode === null) child.kill('SIGKILL');
  child = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** Opened for both, so that the child's writes do not end with EPIPE. @returns a descriptor of a pipe that nobody reads */
function unreadPipe(): number {
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  return openSync(path, 'r+');
}

const LINES = 40_000;
const DROPPED = 'log lines dropped';
/** Writes far more than a pipe takes, a little in each turn, and says on its standard output how the turns go. */
const CHATTY = `
import { createLogger } from ${JSON.stringify(join(DIST, 'telemetry/logger.js'))};
const logger = createLogger('info');
const text = 'x'.repeat(100);
let worst = 0, last = performance.now();
for (let i = 0; i < ${LINES}; i += 1) {
  logger.info({ i }, text);
  if (i % 100 === 99) {
    await new Promise((resolve) => setImmediate(resolve));
    worst = Math.max(worst, performance.now() - last);
    last = performance.now();
  }
}
process.stdout.write(JSON.stringify({ worst }));
process.stdin.once('data', () => { logger.info('the last one'); process.stdin.unref(); });
`;

describe('a log that is not read', () => {
  const start = (stderr: number): ChildProcess => {
    const script = join(folder, 'chatty.mjs');
    writeFileSync(script, CHATTY);
    child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', stderr] });
    return child;
  };

  it('stops nothing; once it is read again it says how many lines were dropped', async () => {
    const pipe = unreadPipe();
    const { stdout, stdin } = start(pipe);
    const [said] = (await once(stdout!, 'data')) as [Buffer];
    expect(JSON.parse(said.toString()).worst).toBeLessThan(1_000);
    let text = '';
    const reader = new Socket({ fd: pipe, readable: true, writable: false });
    reader.setEncoding('utf8').on('data', (more) => {
      text += more;
    });
    await eventually(() => text.includes(DROPPED));
    stdin!.write('x');
    await eventually(() => text.includes('the last one'));
    const lines = text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
    const skippedRows = lines
      .filter(({ msg }) => msg.includes(DROPPED))
      .reduce((sum, { lines: n }) => sum + n, 0);
    const kept = lines.filter(({ msg }) => /^x+$/.test(msg));
    expect(skippedRows).toBeGreaterThan(0);
    expect(kept.length + skippedRows).toBe(LINES);
    // What was kept is whole and in order.
    expect(kept.map(({ i }) => i)).toEqual([...kept.keys()]);
    reader.destroy();
  }, 30_000);
});

describe('lightcone serve', () => {
  const serve = async (stderr: number | 'pipe') => {
    const port = await freePort();
    child = spawn(
      process.execPath,
      [join(DIST, 'cli.js'), 'serve', '--demo', '--listen', `127.0.0.1:${port}`],
      {
        cwd: folder,
        env: { PATH: process.env.PATH, HOME: folder },
        stdio: ['ignore', 'ignore', stderr],
      },
    );
    const url = `http://127.0.0.1:${port}`;
    await eventually(
      () =>
        fetch(`${url}/readyz`).then(
          ({ ok }) => ok,
          () => undefined,
        ),
      { within: 15_000 },
    );
    return url;
  };

  it('answers and ends in time though its log is full and nobody reads it', async () => {
    const pipe = unreadPipe();
    const full = Buffer.alloc(4_096, 'x');
    // Non-blocking, so that this process is not the one that stands still.
    const filler = openSync(`/proc/self/fd/${pipe}`, 0x801);
    const fill = (): void => {
      try {
        for (;;) writeSync(filler, full);
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
      }
    };
    fill();
    const url = await serve(pipe);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const begin = performance.now();
    child!.kill('SIGTERM');
    const [code] = (await once(child!, 'exit')) as [number];
    expect(code).toBe(0);
    expect(performance.now() - begin).toBeLessThan(10_000);
    closeSync(filler);
    closeSync(pipe);
  }, 40_000);

  it('goes on when the reader of its log is gone', async () => {
    const url = await serve('pipe');
    child!.stderr!.destroy();
    for (let i = 0; i < 20; i += 1) {
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
      await fetch(`${url}/api/histories`, { headers: { 'x-api-key': 'wrong' } });
    }
    child!.kill('SIGTERM');
    expect(await once(child!, 'exit')).toEqual([0, null]);
  }, 40_000);

  it('writes every line to a file, the last ones too', async () => {
    const log = join(folder, 'log');
    const file = openSync(log, 'w');
    await serve(file);
    child!.kill('SIGTERM');
    await once(child!, 'exit');
    closeSync(file);
    const lines = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg);
    expect(lines.at(-1)).toBe('stopped');
  }, 40_000);

  it('writes every line to a socket that is read, as to journald, the last ones too', async () => {
    let text = '';
    // Node's own pipes between processes are socket pairs.
    await serve('pipe');
    child!.stderr!.on('data', (data) => {
      text += data;
    });
    child!.kill('SIGTERM');
    await once(child!, 'close');
    expect(JSON.parse(text.trim().split('\n').at(-1)!).msg).toBe('stopped');
  }, 40_000);
});
