import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';
import { locate } from './programs.js';

/**
 * A private nginx on a free port of 127.0.0.1 that passes everything on and knows nothing of streams.
 *
 * @param settings lines of its `server` section
 */
export async function startPlainNginx(
  target: string,
  settings: readonly string[] = [],
): Promise<{ url: string; close(): Promise<void> }> {
  const home = mkdtempSync(join(tmpdir(), 'lightcone-nginx-'));
  // As root, nginx serves as `nobody`, who must get in.
  chmodSync(home, 0o755);
  mkdirSync(join(home, 'temp'));
  const port = await freePort();
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${home}/temp/${kind};`,
  );
  const server = [`listen 127.0.0.1:${port};`, `location / { proxy_pass ${target}; }`, ...settings];
  const file = join(home, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off;\nworker_processes 1;\npid ${home}/nginx.pid;\nerror_log ${home}/error.log;\nevents {}\nhttp {\naccess_log off;\n` +
      `${temp.join('\n')}\nserver {\n${server.join('\n')}\n}\n}\n`,
  );
  const child = spawn(locate('nginx'), ['-p', home, '-c', file], { stdio: 'ignore' });
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(home, { recursive: true, force: true });
  };
  try {
    await eventually(() => takesConnections(port), { within: 10_000, what: 'nginx' });
  } catch (error) {
    const said = readFileSync(join(home, 'error.log'), 'utf8');
    await close();
    throw new Error(`nginx did not start: ${said}`, { cause: error });
  }
  return { url: `http://127.0.0.1:${port}`, close };
}

const takesConnections = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
