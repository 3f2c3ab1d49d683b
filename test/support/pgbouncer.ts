import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';
import { locate } from './programs.js';

/**
 * A private PgBouncer on a free port of 127.0.0.1.
 *
 * @param to URL of the database behind it
 * @param settings further lines of its section `[pgbouncer]`
 */
export async function startPgbouncer(
  to: string,
  settings: readonly string[] = [],
): Promise<{ url: string; close(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'lightcone-pgbouncer-'));
  chmodSync(folder, 0o755);
  const port = await freePort();
  const target = new URL(to);
  const name = target.pathname.slice(1);
  const file = join(folder, 'pgbouncer.ini');
  const lines = [
    '[databases]',
    `${name} = host=${target.hostname} port=${target.port} dbname=${name} user=${target.username}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = any',
    ...settings,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  // It refuses to run as root.
  const args = process.getuid?.() === 0 ? ['-u', 'postgres', file] : [file];
  const child = spawn(locate('pgbouncer'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
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
  const url = new URL(to);
  url.port = String(port);
  try {
    await eventually(() => answers(url.href), { within: 10_000, what: 'PgBouncer' });
  } catch (error) {
    await close();
    throw new Error(`PgBouncer did not start: ${said}`, { cause: error });
  }
  return { url: url.href, close };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
