/** A proxy as a process of its own, with all its files in a temporary folder that it takes along. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';

export interface ProxyProcess {
  url: string;
  port: number;
  close(): Promise<void>;
}

/**
 * Starts a proxy on a free port of 127.0.0.1. Resolves when it takes connections.
 *
 * @param executable from `locate`
 * @param configure writes its files into `home` @returns its arguments
 * @param signal how it is ended
 * @throws Error with what it said: on its standard error, or in `error.log`
 */
export async function startProxyProcess(
  executable: string,
  configure: (home: string, port: number) => readonly string[],
  signal: NodeJS.Signals = 'SIGKILL',
): Promise<ProxyProcess> {
  const program = basename(executable);
  const home = mkdtempSync(join(tmpdir(), `lightcone-${program}-`));
  const port = await freePort();
  const child = spawn(executable, configure(home, port), { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000);
  });
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
    rmSync(home, { recursive: true, force: true });
  };
  try {
    await eventually(() => takesConnections(port), { within: 10_000, what: program });
  } catch (error) {
    const log = logOf(join(home, 'error.log'));
    await close();
    throw new Error(`${program} did not start: ${said}${log}`, { cause: error });
  }
  return { url: `http://127.0.0.1:${port}`, port, close };
}

function logOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

const takesConnections = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
