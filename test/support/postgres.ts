/**
 * A private PostgreSQL on a free port of 127.0.0.1 (and a unix socket), all its files in a temporary folder, without
 * fsync. The server refuses to run as root: then it runs as the user `postgres` that Debian's package makes.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { chown, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import pg from 'pg';
import { clientOptions } from '../../src/database/postgres/options.js';
import { dataFolder } from './data-folder.js';
import { freePort } from './free-port.js';
import { locate, runsElsewhere } from './programs.js';
import { sharedService } from './services.js';

const START_DEADLINE_MS = 30_000;
const run = promisify(execFile);

/** How the server ends its sessions: `fast` closes them, `immediate` is a crash. */
export type StopMode = 'fast' | 'immediate';

export interface Postgres {
  /** Administrator's URL; its user may do anything. */
  url: string;
  port: number;
  /** Folder of the unix socket. */
  socketFolder: string;
  /** Folder of its files. */
  data: string;
  /** Runs a program as the server's user, on the files of a halted server. */
  asServer(program: string, ...args: string[]): Promise<void>;
  halt(mode?: StopMode): Promise<void>;
  /** Same port, same data. Resolves when it takes connections. */
  resume(): Promise<void>;
  restart(mode?: StopMode): Promise<void>;
  stop(): Promise<void>;
}

export interface TestDatabase {
  url: string;
  /** Runs statements on a connection of their own, as another program would. @returns the rows of the last one */
  psql<Row = Record<string, unknown>>(sql: string): Promise<Row[]>;
  drop(): Promise<void>;
}

/** A fresh, empty database on `server`, or on the one that the whole test run shares. */
export async function createTestDatabase(server?: { url: string }): Promise<TestDatabase> {
  const adminUrl = server?.url ?? (await sharedService('postgres')).url;
  const name = `test_${randomUUID().replaceAll('-', '').slice(0, 12)}`;
  await connected(adminUrl, (client) => create(client, name));
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    psql: <Row>(sql: string) => query(url.href, sql) as Promise<Row[]>,
    drop: async () => {
      await query(adminUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

/** Runs statements on a connection of their own. @returns the rows of the last one */
export function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  return connected(url, async (client) => {
    const result = await client.query(sql);
    const last = Array.isArray(result) ? result.at(-1) : result;
    return last?.rows ?? [];
  });
}

async function connected<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(clientOptions(url, 'psql'));
  client.on('error', () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** By copying files: since version 15 the default writes each block to the WAL as well, which costs twice as much. */
async function create(client: pg.Client, name: string): Promise<void> {
  const { rows } = await client.query<{ version: number }>(
    "SELECT current_setting('server_version_num')::int AS version",
  );
  await client.query(`CREATE DATABASE ${name}${rows[0]!.version >= 150_000 ? ' STRATEGY FILE_COPY' : ''}`);
}

export interface PostgresOptions {
  /** Arguments of `pg_resetwal` before the first start. */
  resetwal?: readonly string[];
  /** Of its messages, as `de`. */
  language?: string;
  /** Further `name=value`s. */
  settings?: readonly string[];
  /** Each line of the server's log. */
  onLog?: (line: string) => void;
  /** A running server whose changes this one follows, until `SELECT pg_promote()`. */
  standbyOf?: Postgres;
}

/** Starts a server of the caller's own, for tests that stop or break it. */
export async function startPostgres(given: PostgresOptions = {}): Promise<Postgres> {
  const bin = dirname(locate('postgresql'));
  const home = dataFolder('lightcone-postgres-');
  try {
    return await startPrivate(bin, home, given);
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
}

/** `pg_dump` of a database, into another one, or `--clean` into itself. */
export async function copyDatabase(from: string, to: string, ...how: string[]): Promise<void> {
  const bin = dirname(locate('postgresql'));
  const { stdout } = await run(join(bin, 'pg_dump'), ['--no-owner', ...how, '-d', from], {
    maxBuffer: 64 * 1024 * 1024,
  });
  const psql = run(join(bin, 'psql'), ['-q', '-v', 'ON_ERROR_STOP=1', '-d', to]);
  psql.child.stdin!.end(stdout);
  await psql;
}

/** The server that a test run shares: the one named by TEST_DATABASE_URL, or a private one. */
export async function startSharedPostgres(): Promise<Pick<Postgres, 'url' | 'stop'>> {
  if (!runsElsewhere('postgresql')) return startPostgres();
  return { url: process.env.TEST_DATABASE_URL!, stop: async () => {} };
}

async function startPrivate(bin: string, home: string, given: PostgresOptions): Promise<Postgres> {
  const data = join(home, 'data');
  const identity = await unprivileged(home);
  const options = {
    ...identity,
    cwd: home,
    env: { PATH: process.env.PATH, LANG: 'C.UTF-8', TZ: 'UTC', LANGUAGE: given.language },
  };
  await (given.standbyOf
    ? run(
        join(bin, 'pg_basebackup'),
        ['-D', data, '-d', given.standbyOf.url, '-R', '-c', 'fast', '--no-sync'],
        options,
      )
    : run(
        join(bin, 'initdb'),
        ['-D', data, '-U', 'lightcone', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C.UTF-8'],
        options,
      ));
  if (given.resetwal) await run(join(bin, 'pg_resetwal'), [...given.resetwal, '-D', data], options);
  const port = await freePort();
  const url = `postgresql://lightcone@127.0.0.1:${port}/postgres`;
  const settings = [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    `unix_socket_directories=${home}`,
    'fsync=off',
    'synchronous_commit=off',
    'full_page_writes=off',
    'shared_buffers=32MB',
    'max_connections=200',
    // Not UTC on purpose: naive UTC columns must not depend on it.
    'timezone=America/St_Johns',
    ...(given.settings ?? []),
  ].flatMap((setting) => ['-c', setting]);
  let server: ChildProcess | undefined;

  const resume = async () => {
    const child = spawn(join(bin, 'postgres'), ['-D', data, ...settings], {
      ...options,
      stdio: ['ignore', 'ignore', given.onLog ? 'pipe' : 'ignore'],
    });
    server = child;
    if (given.onLog && child.stderr) createInterface(child.stderr).on('line', given.onLog);
    child.once('exit', () => {
      if (server === child) server = undefined;
    });
    const deadline = performance.now() + START_DEADLINE_MS;
    while (!(await query(url, 'SELECT 1').catch(() => undefined))) {
      if (server !== child) throw new Error(`PostgreSQL (${bin}) ended while it started`);
      if (performance.now() > deadline)
        throw new Error(`PostgreSQL did not start in ${START_DEADLINE_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const halt = async (mode: StopMode = 'fast') => {
    const child = server;
    if (!child) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await exited;
  };
  // A test run that is broken off must not leave a server or its files behind.
  const onExit = () => {
    server?.kill('SIGQUIT');
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
  };
  process.once('exit', onExit);
  const stop = async () => {
    process.removeListener('exit', onExit);
    await halt('immediate');
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    await resume();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    port,
    socketFolder: home,
    data,
    asServer: async (program, ...args) => {
      const PATH = `${bin}:${process.env.PATH}`;
      await run(program, args, { ...options, env: { ...options.env, PATH } });
    },
    halt,
    resume,
    stop,
    restart: async (mode) => {
      await halt(mode);
      await resume();
    },
  };
}

/** For root: the user to run the server as, who then owns `home`. */
async function unprivileged(home: string): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const id = async (flag: string) => Number((await run('id', [flag, 'postgres'])).stdout);
  const identity = { uid: await id('-u'), gid: await id('-g') };
  await chown(home, identity.uid, identity.gid);
  return identity;
}
