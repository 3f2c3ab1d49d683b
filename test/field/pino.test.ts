/** What other people's programs met with pino and sonic-boom. Each test names its report. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const LOGGER = resolve(import.meta.dirname, '../../dist/telemetry/logger.js');
let folder: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-pino-'));
});
afterEach(() => {
  if (child?.exitCode === null) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a program with our logger in `logger`. */
function run(program: string, stderr: number | 'pipe'): ChildProcess {
  const script = join(folder, 'program.mjs');
  writeFileSync(
    script,
    `import { createLogger } from ${JSON.stringify(LOGGER)};\nconst logger = createLogger('info');\n${program}`,
  );
  child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', stderr] });
  return child;
}
const numbers = (text: string): number[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).n);
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

// pinojs/pino#1705: lines before process.exit() are missing. pinojs/pino#2326: "sonic boom is not ready yet".
it.each(['a pipe', 'a file'])('what is logged right before process.exit() is in %s', async (where) => {
  const program = 'for (let n = 0; n < 100; n += 1) logger.info({ n });\nprocess.exit(3);';
  let text = '';
  if (where === 'a file') {
    const file = openSync(join(folder, 'log'), 'w');
    expect(await once(run(program, file), 'close')).toEqual([3, null]);
    closeSync(file);
    text = readFileSync(join(folder, 'log'), 'utf8');
  } else {
    const { stderr } = run(program, 'pipe');
    stderr!.on('data', (data) => {
      text += data;
    });
    expect(await once(child!, 'close')).toEqual([3, null]);
  }
  expect(numbers(text)).toEqual(upTo(100));
});

// pinojs/pino#535, #330, #357: the program that reads the log ends first, and EPIPE ends the server.
// pinojs/pino#2351: after EPIPE all lines are dropped; there is no place left to say so, and the work goes on.
it('a program whose log reader ends goes on, and ends as it means to', async () => {
  const { stderr, stdout } = run(
    `const timer = setInterval(() => logger.info('again'), 5);
     setTimeout(() => { clearInterval(timer); process.stdout.write('done'); process.exitCode = 4; }, 500);`,
    'pipe',
  );
  await once(stderr!, 'data');
  stderr!.destroy();
  const [said] = (await once(stdout!, 'data')) as [Buffer];
  expect(said.toString()).toBe('done');
  expect(await once(child!, 'exit')).toEqual([4, null]);
});

// pinojs/sonic-boom#99: after "buffer full" no drain follows, so that a log stays silent for ever.
it('a log that was full for a moment takes lines again', async () => {
  const { stderr, stdout } = run(
    `const text = 'x'.repeat(1000);
     for (let n = 0; n < 3000; n += 1) logger.info({ n, text });
     process.stdout.write('full');
     process.on('SIGUSR2', () => { logger.info({ n: -1 }); });
     setInterval(() => {}, 1000);`,
    'pipe',
  );
  await once(stdout!, 'data');
  let text = '';
  stderr!.setEncoding('utf8').on('data', (more) => {
    text += more;
    if (text.includes('log lines dropped')) child!.kill('SIGUSR2');
    if (text.includes('"n":-1')) child!.kill('SIGTERM');
  });
  await once(child!, 'close');
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const kept = lines.filter(({ n }) => n >= 0);
  const skippedRows = lines.find(({ lines: left }) => left !== undefined)!.lines;
  expect(kept.length + skippedRows).toBe(3000);
  expect(kept.map(({ n }) => n)).toEqual(upTo(kept.length));
  expect(lines.some(({ n }) => n === -1)).toBe(true);
});
