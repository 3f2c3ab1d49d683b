/** WebKitGTK, the engine of Safari, in its own small browser on a screen that nobody sees, over WebDriver. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type Engine, freezeInCache } from './engines.js';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';
import { locate } from './programs.js';

export async function webkitEngine(): Promise<Engine> {
  const folder = mkdtempSync(join(tmpdir(), 'lightcone-webkit-'));
  const screen = spawn(locate('xvfb'), ['-displayfd', '3', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  let display = '';
  (screen.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => {
    display += text;
  });
  await eventually(() => display.endsWith('\n'), { within: 10_000, what: 'a screen' });
  const port = await freePort();
  const driver = spawn(locate('webkit2gtk-driver'), [`--port=${port}`, '--host=127.0.0.1'], {
    env: { PATH: process.env.PATH, HOME: folder, XDG_RUNTIME_DIR: folder, DISPLAY: `:${display.trim()}` },
    stdio: 'ignore',
  });
  const kill = () => {
    driver.kill('SIGKILL');
    screen.kill('SIGKILL');
  };
  process.once('exit', kill);
  const call = caller(`http://127.0.0.1:${port}`);
  await eventually(() => call('GET', '/status').catch(() => false), { within: 10_000, what: 'the driver' });
  const options = { binary: locate('webkit2gtk-browser'), args: ['--automation'] };
  const capabilities = { alwaysMatch: { 'webkitgtk:browserOptions': options } };
  const { sessionId } = await call<{ sessionId: string }>('POST', '/session', { capabilities });
  const session = `/session/${sessionId}`;
  const first = await call<string>('GET', `${session}/window`);
  const inTab = turns(async (handle: string) => {
    await call('POST', `${session}/window`, { handle });
  });
  return {
    openTab: async (url) => {
      // From the first, which stays: a tab that was closed opens none. Windows, because a new tab stays hidden.
      const { handle } = await inTab(first, () =>
        call<{ handle: string }>('POST', `${session}/window/new`, { type: 'window' }),
      );
      await inTab(handle, () => call('POST', `${session}/url`, { url }));
      return {
        evaluate: async <T>(expression: string) => {
          const script = `const done = arguments[arguments.length - 1];
            (async () => ({ value: await (${expression}) }))().then(done, (error) => done({ error: String(error) }));`;
          const { value, error } = await inTab(handle, () =>
            call<{ value: T; error?: string }>('POST', `${session}/execute/async`, { script, args: [] }),
          );
          if (error !== undefined) throw new Error(error);
          return value;
        },
        close: () => inTab(handle, () => call('DELETE', `${session}/window`)),
      };
    },
    freeze: (tab) => freezeInCache(tab),
    close: async () => {
      await call('DELETE', session);
      await Promise.all([ended(driver), ended(screen)]);
      process.removeListener('exit', kill);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

type Call = <T>(method: string, path: string, body?: object) => Promise<T>;

const caller =
  (base: string): Call =>
  async <T>(method: string, path: string, body?: object) => {
    const response = await fetch(base + path, { method, ...(body && { body: JSON.stringify(body) }) });
    const { value } = (await response.json()) as { value: T & { error?: string; message?: string } };
    if (!response.ok) throw new Error(`WebKit: ${method} ${path}: ${value.error}: ${value.message}`);
    return value;
  };

/** WebDriver speaks to one tab at a time: whoever wants another waits. */
function turns(change: (handle: string) => Promise<void>) {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(handle: string, work: () => Promise<T>): Promise<T> => {
    const turn = last.then(async () => {
      await change(handle);
      return work();
    });
    last = turn.catch(() => {});
    return turn;
  };
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill();
  });
}
