import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';
import { locate } from './programs.js';

/**
 * A private HAProxy on a free port of 127.0.0.1.
 *
 * @param proxy the lines of its one `listen` section, without `bind`
 */
export async function startHaproxy(
  proxy: readonly string[],
): Promise<{ port: number; close(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'lightcone-haproxy-'));
  const port = await freePort();
  const file = join(folder, 'haproxy.cfg');
  const lines = ['listen tested', `bind 127.0.0.1:${port}`, ...proxy];
  writeFileSync(file, `${lines.join('\n  ')}\n`);
  const child = spawn(locate('haproxy'), ['-db', '-f', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000);
  });
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await eventually(() => takesConnections(port), { within: 10_000, what: 'HAProxy' });
  } catch (error) {
    await close();
    throw new Error(`HAProxy did not start: ${said}`, { cause: error });
  }
  return { port, close };
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
