import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';
import { locate } from './programs.js';

const ALWAYS = ['mpm_event', 'authz_core', 'proxy', 'proxy_http', 'env', 'unixd'];

/**
 * A private Apache on a free port of 127.0.0.1 that passes everything on.
 *
 * @param settings lines of its one configuration file
 * @param modules further ones than a proxy needs
 */
export async function startApache(
  target: string,
  settings: readonly string[] = [],
  modules: readonly string[] = [],
): Promise<{ url: string; port: number; close(): Promise<void> }> {
  const home = mkdtempSync(join(tmpdir(), 'lightcone-apache-'));
  const port = await freePort();
  const program = locate('apache2');
  const folder = join(dirname(dirname(program)), 'lib/apache2/modules');
  const errors = join(home, 'error.log');
  const lines = [
    `ServerRoot ${home}`,
    'ServerName 127.0.0.1',
    `Listen 127.0.0.1:${port}`,
    `PidFile ${home}/apache.pid`,
    `DefaultRuntimeDir ${home}`,
    `ErrorLog ${errors}`,
    // Some are part of the program.
    ...[...ALWAYS, ...modules].flatMap((name) => [
      `<IfModule !mod_${name}.c>`,
      `LoadModule ${name}_module ${folder}/mod_${name}.so`,
      '</IfModule>',
    ]),
    ...(process.getuid?.() === 0 ? ['User www-data', 'Group www-data'] : []),
    ...settings,
    `ProxyPass / ${target}/`,
  ];
  const file = join(home, 'apache.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = spawn(program, ['-X', '-d', home, '-f', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000);
  });
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(home, { recursive: true, force: true });
  };
  try {
    await eventually(() => takesConnections(port), { within: 10_000, what: 'Apache' });
  } catch (error) {
    const log = logOf(errors);
    await close();
    throw new Error(`Apache did not start: ${said}${log}`, { cause: error });
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
