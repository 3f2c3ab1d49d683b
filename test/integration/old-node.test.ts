import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const EXECUTABLES = ['dist/cli.js', 'dist/sse-monitor.js'];
const { engines } = JSON.parse(readFileSync(resolve(ROOT, 'package.json'), 'utf8'));

/** Starts the executable in a Node.js that says it is of this version. */
function startOn(version: string, executable: string, ...args: string[]) {
  const pretend = `Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
  return new Promise<{ code: number; stdout: string; stderr: string }>((done) => {
    execFile(
      process.execPath,
      ['--import', `data:text/javascript,${pretend}`, resolve(ROOT, executable), ...args],
      { timeout: 20_000 },
      (error, stdout, stderr) => done({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr }),
    );
  });
}

describe.each(EXECUTABLES)('%s', (executable) => {
  it.each([
    ['20.20.2', '22'],
    ['18.0.0', '22'],
    ['22.11.0', '22.12'],
  ])('on Node.js %s says what it needs in one line, and ends with 2', async (version, floor) => {
    const { code, stdout, stderr } = await startOn(version, executable, 'serve');
    expect(stderr).toMatch(
      new RegExp(
        `^Lightcone needs Node\\.js ${floor} or newer, this is ${version}: install Node\\.js 24 .*\\n$`,
      ),
    );
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it.each(['22.12.0', '24.0.0', '26.1.0'])('on Node.js %s starts', async (version) => {
    const { code, stdout } = await startOn(version, executable, '--version');
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(code).toBe(0);
  });

  it('loads nothing before it has looked, and holds nothing that an old Node.js cannot read', () => {
    const source = readFileSync(resolve(ROOT, executable), 'utf8');
    const check = readFileSync(resolve(ROOT, 'dist/cli/node-version.js'), 'utf8');
    expect(source.match(/^import .*/gm)).toEqual([
      "import { isNodeNewEnough } from './cli/node-version.js';",
    ]);
    expect(check).not.toMatch(/^import /m);
    // Top-level `await`, `?.`, `??`, private fields: each newer than modules are.
    expect(source + check).not.toMatch(/\bawait\b|\?\.|\?\?|this\.#/);
  });
});

it('the floor is the one that package.json names', () => {
  expect(engines.node).toBe('>=22.12');
});
