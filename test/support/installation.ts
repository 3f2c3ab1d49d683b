/**
 * An installation for one test: a fresh database with demo data, a virtual host of the broker where it has one, and the
 * workers and processes that the test starts. `close` stops them all and then looks whether anything was left behind.
 */
import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from '../../src/app/processes/worker.js';
import { loadConfig } from '../../src/config/load.js';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import { type Clock, systemClock } from '../../src/lib/clock.js';
import { recordingLogger } from './bus.js';
import { dataFolder } from './data-folder.js';
import { eventually } from './eventually.js';
import { createTestDatabase } from './postgres.js';
import { ServiceProcess, WITHOUT_NODE_INTERNALS } from './processes.js';
import { locate } from './programs.js';
import { createVhost, type Vhost } from './rabbitmq-vhost.js';
import { sharedService } from './services.js';
import { SseClient, type SseOptions } from './sse-client.js';

export const ID_SECRET = 'the secret of the tests';
/** Row ids that the demo data gets in an empty database. */
export const DEMO = {
  users: { alice: 1, bob: 2, admin: 3 },
  histories: { alice: 1, bob: 2, admin: 3, anonymous: 4 },
  anonymousSession: 1,
} as const;

export interface Settings {
  galaxy?: Record<string, unknown>;
  sse?: Record<string, unknown>;
}

export interface RunningWorker {
  worker: Worker;
  url: string;
  /** Log lines. */
  lines: Record<string, unknown>[];
  stop(): Promise<void>;
}

export class Installation {
  readonly folder = dataFolder('lightcone-installation-');
  readonly ids = new IdCodec(ID_SECRET);
  private readonly running: { stop(): Promise<unknown> }[] = [];
  private readonly clients: SseClient[] = [];
  private readonly inProcess: Worker[] = [];

  private constructor(
    readonly kind: 'sqlite' | 'postgresql',
    readonly galaxy: Record<string, unknown>,
    /** Runs statements as another program does, outside Lightcone. @returns the rows */
    readonly sql: <Row = Record<string, unknown>>(text: string) => Promise<Row[]>,
    readonly vhost: Vhost | undefined,
    private readonly dropDatabase: () => Promise<void>,
  ) {}

  /** SQLite, in-process bus. */
  static embedded(): Installation {
    const installation = new Installation(
      'sqlite',
      { database_connection: 'sqlite:///lightcone.sqlite' },
      (text) => sqlite3(join(installation.folder, 'lightcone.sqlite'), text),
      undefined,
      async () => {},
    );
    return installation;
  }

  /** PostgreSQL and RabbitMQ. */
  static async production(): Promise<Installation> {
    const [database, vhost] = await Promise.all([
      createTestDatabase(),
      sharedService('rabbitmq').then(createVhost),
    ]);
    return new Installation(
      'postgresql',
      { database_connection: database.url, amqp_internal_connection: vhost.amqpUrl },
      database.psql,
      vhost,
      database.drop,
    );
  }

  /** PostgreSQL, in-process bus. */
  static async withoutBroker(server?: { url: string }): Promise<Installation> {
    const { url, psql, drop } = await createTestDatabase(server);
    return new Installation('postgresql', { database_connection: url }, psql, undefined, drop);
  }

  /** Writes `galaxy.yml`. @returns its path */
  writeSettings({ galaxy, sse }: Settings = {}, name = 'galaxy.yml'): string {
    const file = join(this.folder, name);
    const settings = {
      galaxy: { id_secret: ID_SECRET, enable_sse_updates: true, ...this.galaxy, ...galaxy },
      sse: { listen: '127.0.0.1:0', ...(WITHOUT_NODE_INTERNALS && { node_internals: false }), ...sse },
    };
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(settings, undefined, 2));
    return file;
  }

  /** A whole worker in this process. It is ready, with demo data, unless `waitUntilReady` is false. */
  async worker(
    settings: Settings = {},
    { waitUntilReady = true, clock = systemClock }: { waitUntilReady?: boolean; clock?: Clock } = {},
  ): Promise<RunningWorker> {
    const file = this.writeSettings(settings, `worker-${this.inProcess.length}.yml`);
    const { logger, lines } = recordingLogger();
    const worker = await Worker.create({
      config: loadConfig({ env: {}, flags: { config: file, sse: {} }, cwd: this.folder }),
      serverName: `main.${this.inProcess.length + 1}`,
      demo: true,
      supervised: false,
      runtime: { logger, clock, random: Math.random },
    });
    this.inProcess.push(worker);
    const abort = new AbortController();
    const started = worker.start(abort.signal);
    started.catch(() => {});
    const stop = async (): Promise<void> => {
      abort.abort(new Error('the test is over'));
      await worker.stop();
    };
    this.running.push({ stop });
    if (waitUntilReady) {
      await started;
      // A worker alone is its own monitor; several of them agree on one, and processes beside it have their own way.
      await eventually(
        () =>
          this.inProcess.some((it) => it.leading && it.monitorProblem === undefined) ||
          this.running.some((it) => it instanceof ServiceProcess),
        { within: 20_000, what: 'a leader' },
      );
    } else {
      await eventually(() => lines.length > 0, { what: 'the first log line' });
    }
    return { worker, url: worker.address, lines, stop };
  }

  /** The built program with these arguments; settings as for `worker`. */
  process(args: readonly string[], settings: Settings = {}, env?: Record<string, string>): ServiceProcess {
    const file = this.writeSettings(settings, `process-${this.running.length}.yml`);
    return this.processOf([...args, '-c', file], env);
  }

  /** The built program with exactly these arguments. */
  processOf(args: readonly string[], env?: Record<string, string>): ServiceProcess {
    const started = new ServiceProcess(args, this.folder, env);
    this.running.push(started);
    return started;
  }

  /** An open stream past its `ready`; `path` may hold a query. */
  async stream(url: string, query = 'key=demo-alice', options: SseOptions = {}): Promise<SseClient> {
    const client = await SseClient.ready(`${url}/api/events/stream?${query}`, options);
    this.clients.push(client);
    return client;
  }

  /** What the status page of an administrator is sent. */
  async statusPage(url: string): Promise<SseClient> {
    const client = await SseClient.open(`${url}/api/status/live?key=demo-admin`);
    this.clients.push(client);
    return client;
  }

  encode(id: number): string {
    return this.ids.encodeId(id);
  }

  /** Changes a history as another program does. @returns when (`performance.now()`, before the statement is sent) */
  async change(historyId: number): Promise<number> {
    const at = performance.now();
    await this.sql(`UPDATE history SET name = 'changed at ${at}' WHERE id = ${historyId}`);
    return at;
  }

  /** The header of a browser with this session. */
  async cookieOf(sessionId: number): Promise<{ cookie: string }> {
    const [row] = await this.sql<{ session_key: string }>(
      `SELECT session_key FROM galaxy_session WHERE id = ${sessionId}`,
    );
    return { cookie: `galaxysession=${this.ids.encodeSessionKey(row!.session_key)}` };
  }

  /** Resolves when the process that leads has told what was written before its start. */
  async settled(process: ServiceProcess): Promise<void> {
    const { histories } = await process.line('monitor caught up: it publishes the changes since its cursor');
    const stream = await this.stream(await process.address(), 'key=demo-admin');
    const from = stream.frames.length;
    // Changes are told in the order of their commits, so what was there before is out when this one is.
    if (Number(histories) > 0) await this.change(DEMO.histories.admin);
    if (Number(histories) > 0) await stream.waitForHistory(this.encode(DEMO.histories.admin), { from });
  }

  /** After a test that killed a worker of a supervisor: its row ages, as the contract has it. */
  async forgetKilled(): Promise<void> {
    const rows = await this.sql<{ pid: number; server_name: string }>(
      'SELECT pid, server_name FROM worker_process',
    );
    for (const { pid, server_name } of rows) {
      if (!isAlive(pid)) await this.sql(`DELETE FROM worker_process WHERE server_name = '${server_name}'`);
    }
  }

  /** Workers and processes; `close` does it, too. */
  async stopWorkers(): Promise<void> {
    await Promise.all(this.running.map((it) => it.stop()));
  }

  closeStreams(): void {
    for (const client of this.clients.splice(0)) client.close();
  }

  /** @throws Error naming what the stopped processes left behind */
  async close(): Promise<void> {
    this.closeStreams();
    await this.stopWorkers();
    const left: string[] = [];
    for (const it of this.running) {
      if (it instanceof ServiceProcess && it.crash) left.push(`an error that nobody caught: ${it.crash}`);
    }
    if (this.vhost) {
      const { vhost } = this;
      // The management plugin hears of a closed connection a moment later.
      await eventually(async () => (await vhost.queues()).length === 0, {
        within: 5_000,
        what: 'queues gone',
      }).catch(async () => {
        left.push(`queues ${(await vhost.queues()).map((queue) => queue.name).join(', ')}`);
      });
      await vhost.delete();
    }
    // What was killed could not tidy up: its row ages, as the contract has it.
    const tidy = this.running.every((it) => !(it instanceof ServiceProcess) || it.endedProperly);
    const rows = tidy
      ? await this.sql<{ server_name: string }>('SELECT server_name FROM worker_process').catch(() => [])
      : [];
    if (rows.length > 0) left.push(`worker_process ${rows.map((row) => row.server_name).join(', ')}`);
    await this.dropDatabase();
    rmSync(this.folder, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Debian's `sqlite3`: a writer that shares nothing with Lightcone but the file. */
async function sqlite3<Row>(file: string, text: string): Promise<Row[]> {
  const { stdout } = await promisify(execFile)(locate('sqlite3'), [
    '-json',
    '-cmd',
    '.timeout 5000',
    file,
    text,
  ]);
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as Row[]);
}
