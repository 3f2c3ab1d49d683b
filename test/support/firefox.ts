/** A headless Firefox from the system, over WebDriver BiDi, which it speaks by itself. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, freezeInCache, type Tab } from './engines.js';
import { eventually } from './eventually.js';
import { locate } from './programs.js';

export async function firefoxEngine(): Promise<Engine> {
  const profile = mkdtempSync(join(tmpdir(), 'lightcone-firefox-'));
  const debugging = ['--remote-debugging-port', '0', '--remote-allow-system-access'];
  const args = ['--headless', '--no-remote', '--profile', profile, ...debugging];
  const child = spawn(locate('firefox'), args, {
    env: { PATH: process.env.PATH, HOME: profile },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const address = await eventually(() => /WebDriver BiDi listening on (ws:\S+)/.exec(said)?.[1], {
    within: 30_000,
    what: "Firefox's address",
  });
  const call = await connect(`${address}/session`);
  await call('session.new', { capabilities: {} });
  const evaluate = async <T>(context: string, expression: string): Promise<T> => {
    const { result, exceptionDetails } = await call<Evaluation>('script.evaluate', {
      expression: `(async () => JSON.stringify(await (${expression})))()`,
      awaitPromise: true,
      target: { context },
    });
    if (!result) throw new Error(exceptionDetails!.text);
    return (result.value === undefined ? undefined : JSON.parse(result.value)) as T;
  };
  /** In the browser's own window, which holds the tabs. */
  const inBrowser = async <T>(expression: string): Promise<T> => {
    const { contexts } = await call<{ contexts: { context: string }[] }>('browsingContext.getTree', {
      'moz:scope': 'chrome',
    });
    return evaluate<T>(contexts[0]!.context, expression);
  };
  return {
    openTab: async (url) => {
      const { context } = await call<{ context: string }>('browsingContext.create', { type: 'tab' });
      await call('browsingContext.navigate', { context, url, wait: 'complete' });
      return {
        evaluate: (expression) => evaluate(context, expression),
        close: async () => {
          await call('browsingContext.close', { context });
        },
      };
    },
    // It keeps no page that holds a lock.
    freeze: (tab) => freezeInCache(tab, true),
    discard: async (tab: Tab) => {
      const title = 'to be discarded';
      await tab.evaluate(`void (document.title = '${title}')`);
      const isDiscarded = () =>
        inBrowser<boolean>(`(() => {
          const tab = [...gBrowser.tabs].find(({ label }) => label === '${title}');
          return !tab.linkedPanel || gBrowser.discardBrowser(tab, true);
        })()`);
      await eventually(isDiscarded, { within: 10_000, what: 'a discarded tab' });
    },
    setOffline: (isOffline) => inBrowser(`void (Services.io.offline = ${isOffline})`),
    close: async () => {
      await call('browser.close', {});
      const timer = setTimeout(kill, 5_000);
      await exited;
      clearTimeout(timer);
      process.removeListener('exit', kill);
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

interface Evaluation {
  result?: { value?: string };
  exceptionDetails?: { text: string };
}
type Call = <T>(method: string, params: object) => Promise<T>;

async function connect(url: string): Promise<Call> {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const waiting = new Map<number, (answer: { result?: unknown; message?: string }) => void>();
  socket.onmessage = ({ data }) => {
    const answer = JSON.parse(data as string);
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  };
  let id = 0;
  return async <T>(method: string, params: object) => {
    id += 1;
    socket.send(JSON.stringify({ id, method, params }));
    const { result, message } = await new Promise<{ result?: unknown; message?: string }>((resolve) => {
      waiting.set(id, resolve);
    });
    if (result === undefined) throw new Error(`Firefox: ${method}: ${message}`);
    return result as T;
  };
}
