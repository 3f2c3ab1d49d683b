/** A private PgBouncer on a free port of 127.0.0.1, as Debian ships it, in front of a PostgreSQL. It refuses to run as root. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';
import { locate } from './programs.js';

export interface PgBouncer {
  /** The same database through it. */
  url: string;
  stop(): Promise<void>;
}

/** @param settings further lines of its section */
export async function startPgBouncer(
  databaseUrl: string,
  poolMode: 'session' | 'transaction' | 'statement',
  settings: readonly string[] = [],
): Promise<PgBouncer> {
  const home = await mkdtemp(join(tmpdir(), 'lightcone-pgbouncer-'));
  const port = await freePort();
  const behind = new URL(databaseUrl);
  const file = join(home, 'pgbouncer.ini');
  await writeFile(
    file,
    [
      '[databases]',
      `* = host=${behind.hostname} port=${behind.port} user=${behind.username}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      `unix_socket_dir = ${home}`,
      'auth_type = any',
      `pool_mode = ${poolMode}`,
      ...settings,
    ].join('\n'),
  );
  const identity = process.getuid?.() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (identity.uid !== undefined) await chown(home, identity.uid, identity.gid!);
  const child = spawn(locate('pgbouncer'), [file], { ...identity, stdio: 'ignore' });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    process.removeListener('exit', kill);
    if (child.exitCode === null && child.signalCode === null) {
      kill();
      await once(child, 'exit');
    }
    await rm(home, { recursive: true, force: true });
  };
  await eventually(() => answers(port), { within: 10_000, what: 'PgBouncer' }).catch(async (error) => {
    await stop();
    throw error;
  });
  const through = new URL(databaseUrl);
  through.port = String(port);
  return { url: through.href, stop };
}

/** Of the user that Debian's packages of PostgreSQL make. */
const idOf = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
