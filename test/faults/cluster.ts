/**
 * An installation to be broken: a private PostgreSQL and RabbitMQ, processes of the built program, a writer, three tabs for
 * each of ten users. Tabs reconnect to any worker, as through a balancer.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import { dataFolder } from '../support/data-folder.js';
import { eventually } from '../support/databases.js';
import { createTestDatabase, type Postgres, type TestDatabase } from '../support/postgres.js';
import { ServiceProcess } from '../support/processes.js';
import { createVhost, type Rabbit, type Vhost } from '../support/rabbitmq.js';
import { SseClient, type SseOptions } from '../support/sse-client.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import type { WatchedTab } from './judge.js';
import { RowWriter } from './row-writer.js';
import { Screen } from './screens.js';
import { Writer } from './writer.js';

const ID_SECRET = 'the secret of the faults';
/** The database user of the private server. */
const OWNER = 'lightcone';
const HISTORIES_PER_USER = 2;
const ROWS_PER_HISTORY = 6;
/** How often a tab looks at what it was told. */
const LOOK_MS = 50;
/** As an administrator may have them set for our role. */
const ROLE_SETTINGS = { idle_session_timeout: '3s', statement_timeout: '5s', transaction_timeout: '5s' };

/** What a cluster needs that leaves its neighbours alone. */
export interface SharedServices {
  postgres: Pick<Postgres, 'url'>;
  rabbit: Pick<Rabbit, 'amqpUrl' | 'managementUrl'>;
}

/** Private ones, to be broken. */
export interface Services extends SharedServices {
  postgres: Postgres;
  rabbit: Rabbit;
}

export interface Plan {
  workers: number;
  monitors: number;
  sse?: Record<string, unknown>;
  galaxy?: Record<string, unknown>;
  /** Monitors reach the database, and all processes the broker, through proxies. */
  proxied?: boolean;
  /** Seconds by which the clocks of the members are off, in the order of their start. */
  clocksOff?: readonly number[];
  /** Processes of a supervisor; `workers` then counts supervisors. */
  supervised?: number;
  /** Its own monitor leads: nobody does here. */
  besideGalaxy?: boolean;
  users?: number;
  tabsPerUser?: number;
  /** Each process has a database user of its own, by which the server's log tells their statements apart. */
  ownDatabaseUsers?: boolean;
  /** Rows are written in transactions that are open for up to so long, and every tab shows them. */
  longestTransactionMs?: number;
  /** When everything runs, but no stream is open yet. */
  onBeforeTabs?: (cluster: Cluster<SharedServices>) => Promise<void>;
  random: () => number;
}

export interface Proxies {
  database: TcpProxy;
  broker: TcpProxy;
}

/** One process of ours. A supervisor counts as one worker. */
export class Member {
  /** Where it listens; undefined for a monitor. */
  url: string | undefined;
  killed = false;

  constructor(
    readonly kind: 'monitor' | 'worker',
    readonly process: ServiceProcess,
    /** In the database; its own where the plan says so. */
    readonly databaseUser: string,
  ) {}

  get alive(): boolean {
    return this.process.running && !this.killed;
  }

  get leading(): boolean {
    if (!this.alive) return false;
    const last = this.process.lines.findLast(
      ({ msg }) => msg.startsWith('leading:') || msg.startsWith('no longer leading'),
    );
    return last?.msg.startsWith('leading:') ?? false;
  }
}

export class Cluster<Given extends SharedServices = Services> {
  readonly folder = dataFolder('lightcone-faults-');
  readonly ids = new IdCodec(ID_SECRET);
  readonly members: Member[] = [];
  readonly tabs: WatchedTab[] = [];
  readonly writer: Writer;
  rowWriter: RowWriter | undefined;
  readonly screens: Screen[] = [];
  private following: NodeJS.Timeout | undefined;
  proxies: Proxies | undefined;

  private constructor(
    readonly services: Given,
    readonly database: TestDatabase,
    readonly vhost: Vhost,
    private readonly plan: Plan,
    readonly histories: readonly { id: number; userId: number }[],
  ) {
    this.writer = new Writer(
      database.url,
      histories.map(({ id }) => id),
      plan.random,
    );
  }

  /** Everything runs, somebody leads, every tab is open and the writer writes. */
  static async start<Given extends SharedServices>(services: Given, plan: Plan): Promise<Cluster<Given>> {
    const [database, vhost] = await Promise.all([
      createTestDatabase(services.postgres),
      createVhost(services.rabbit),
    ]);
    const users = plan.users ?? 10;
    const histories = Array.from({ length: users * HISTORIES_PER_USER }, (_, i) => ({
      id: i + 1,
      userId: (i % users) + 1,
    }));
    const cluster = new Cluster(services, database, vhost, plan, histories);
    await cluster.migrate();
    if (plan.proxied) {
      cluster.proxies = {
        database: await TcpProxy.to(database.url),
        broker: await TcpProxy.to(vhost.amqpUrl),
      };
    }
    for (let i = 0; i < plan.monitors; i += 1) await cluster.startMonitor();
    for (let i = 0; i < plan.workers; i += 1) await cluster.startWorker();
    if (!plan.besideGalaxy) await cluster.settled();
    await plan.onBeforeTabs?.(cluster);
    await cluster.openTabs();
    if (plan.longestTransactionMs !== undefined) cluster.showRows(plan.longestTransactionMs);
    cluster.startWriters();
    return cluster;
  }

  startWriters(): void {
    this.writer.start();
    this.rowWriter?.start();
  }

  /** Resolves when no transaction is open. */
  async pauseWriters(): Promise<void> {
    await Promise.all([this.writer.pause(), this.rowWriter?.pause()]);
  }

  private showRows(longestMs: number): void {
    this.rowWriter = new RowWriter({
      databaseUrl: this.database.url,
      rows: this.histories.flatMap(({ id: historyId }) =>
        Array.from({ length: ROWS_PER_HISTORY }, (_, i) => ({
          id: (historyId - 1) * ROWS_PER_HISTORY + i + 1,
          historyId,
        })),
      ),
      longestMs,
      onCommit: (commit) => this.writer.commits.push(commit),
      random: this.plan.random,
    });
    for (const { name, client, histories, userId } of this.tabs) {
      for (const encoded of histories.values()) {
        const rule = this.screens.length % 2 === 0 ? 'since of the event' : 'since of the answer';
        const url = () => ({ base: this.anyWorker(), key: `key-${userId}` });
        this.screens.push(new Screen(`${name}, ${rule}`, client, encoded, rule, url));
      }
    }
    this.following = setInterval(() => {
      for (const screen of this.screens) screen.follow();
    }, LOOK_MS);
  }

  /** @returns the screens that do not show what the database holds */
  async wrongScreens(): Promise<string[]> {
    const rows = await this.database.psql<{ history_id: number; id: number; name: string }>(
      'SELECT history_id, id, name FROM history_dataset_association ORDER BY id',
    );
    const right = new Map<string, Map<string, string>>();
    for (const { history_id, id, name } of rows) {
      const encoded = this.ids.encodeId(history_id);
      const shown = right.get(encoded) ?? new Map<string, string>();
      right.set(encoded, shown.set(`dataset-${this.ids.encodeId(id)}`, name));
    }
    return this.screens.flatMap(({ name, encoded, rows: shown }) => {
      const wanted = right.get(encoded)!;
      const wrong = [...wanted].filter(([id, text]) => shown.get(id) !== text);
      if (wrong.length === 0 && shown.size === wanted.size) return [];
      const [id, text] = wrong[0] ?? ['a row too many', ''];
      return [`${name}: ${id} is "${shown.get(id)}" and should be "${text}"`];
    });
  }

  private async migrate(): Promise<void> {
    const { code } = await new ServiceProcess(['migrate', '-c', this.settings('monitor', OWNER)], this.folder)
      .exited;
    if (code !== 0) throw new Error('migrate failed');
    await this.database.psql(`
      INSERT INTO galaxy_user (id, email, password, deleted, purged, active)
      SELECT i, 'user' || i || '@example.org', '!', false, false, true FROM generate_series(1, ${this.users}) i;
      INSERT INTO api_keys (user_id, key, deleted) SELECT i, 'key-' || i, false FROM generate_series(1, ${this.users}) i;
      INSERT INTO history (user_id, name, deleted, published)
      SELECT 1 + (i - 1) % ${this.users}, 'history', false, false FROM generate_series(1, ${this.histories.length}) i`);
    if (this.plan.longestTransactionMs === undefined) return;
    await this.database.psql(`
      INSERT INTO history_dataset_association (id, history_id, hid, name, state, validated_state, deleted, visible)
      SELECT i, 1 + (i - 1) / ${ROWS_PER_HISTORY}, i, 'first', 'ok', 'unvalidated', false, true
        FROM generate_series(1, ${this.histories.length * ROWS_PER_HISTORY}) i`);
    for (const [setting, value] of Object.entries(ROLE_SETTINGS)) {
      // The server's version may not have it.
      const [row] = await this.database.psql(`SELECT 1 FROM pg_settings WHERE name = '${setting}'`);
      if (row) {
        await this.database.psql(
          `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET ${setting} = ''${value}''', current_database()); END $$`,
        );
      }
    }
  }

  get users(): number {
    return this.histories.length / HISTORIES_PER_USER;
  }

  /** Writes a settings file. @returns its path */
  private settings(kind: Member['kind'], databaseUser: string): string {
    const file = join(this.folder, `galaxy-${this.members.length}.yml`);
    const { galaxy, sse } = this.plan;
    const { proxies } = this;
    const url = new URL(this.database.url);
    url.username = databaseUser;
    const databaseUrl = url.href;
    writeFileSync(
      file,
      JSON.stringify({
        galaxy: {
          database_connection:
            proxies && kind === 'monitor' ? proxies.database.through(databaseUrl) : databaseUrl,
          amqp_internal_connection: proxies?.broker.through(this.vhost.amqpUrl) ?? this.vhost.amqpUrl,
          id_secret: ID_SECRET,
          enable_sse_updates: true,
          enable_notification_system: true,
          ...galaxy,
        },
        sse: {
          listen: '127.0.0.1:0',
          attach_to_galaxy: this.plan.besideGalaxy === true && kind === 'worker',
          ...sse,
        },
      }),
    );
    return file;
  }

  async startMonitor(): Promise<Member> {
    const member = await this.spawn('monitor', ['monitor']);
    await member.process.line('monitor started');
    return member;
  }

  /** Resolves when it is ready. */
  async startWorker(): Promise<Member> {
    const { supervised } = this.plan;
    const member = await this.spawn('worker', [
      'serve',
      ...(supervised ? ['--workers', String(supervised)] : []),
    ]);
    member.url = await member.process.address();
    return member;
  }

  private async spawn(kind: Member['kind'], command: string[]): Promise<Member> {
    const shift = this.plan.clocksOff?.[this.members.length];
    const env = shift === undefined ? {} : clockOff(shift);
    let user = OWNER;
    if (this.plan.ownDatabaseUsers) {
      user = `${kind}_${this.members.length}`;
      await this.database.psql(`DROP ROLE IF EXISTS ${user}; CREATE ROLE ${user} SUPERUSER LOGIN`);
    }
    const process = new ServiceProcess([...command, '-c', this.settings(kind, user)], this.folder, env);
    const member = new Member(kind, process, user);
    this.members.push(member);
    return member;
  }

  get monitors(): Member[] {
    return this.members.filter((member) => member.kind === 'monitor' && member.alive);
  }

  get workers(): Member[] {
    return this.members.filter((member) => member.kind === 'worker' && member.alive);
  }

  get leader(): Member | undefined {
    return this.members.find((member) => member.leading);
  }

  /** Resolves when somebody leads and every worker is ready. */
  async settled(within = 20_000): Promise<Member> {
    for (const worker of this.workers) await worker.process.ready(worker.url!, within);
    return eventually(() => this.leader, { within, what: 'a leader' });
  }

  /** Some worker, as a balancer would choose. */
  anyWorker(): string {
    const workers = this.workers.filter(({ url }) => url !== undefined);
    return workers[Math.floor(this.plan.random() * workers.length)]?.url ?? 'http://127.0.0.1:1';
  }

  streamUrl(userId: number, worker = this.anyWorker()): string {
    return `${worker}/api/events/stream?key=key-${userId}`;
  }

  private async openTabs(): Promise<void> {
    const { workers } = this;
    const { tabsPerUser = 3 } = this.plan;
    for (let userId = 1; userId <= this.users; userId += 1) {
      await Promise.all(
        Array.from({ length: tabsPerUser }, (_, i) => {
          const worker = workers[(userId + i) % workers.length]!;
          return this.openTab(userId, `tab ${i + 1} of user ${userId}`, {}, worker.url!);
        }),
      );
    }
  }

  async openTab(
    userId: number,
    name: string,
    options: SseOptions = {},
    worker = this.anyWorker(),
  ): Promise<WatchedTab> {
    const client = await SseClient.ready(this.streamUrl(userId, worker), {
      reconnect: true,
      nextUrl: () => this.streamUrl(userId),
      ...options,
    });
    const histories = new Map(
      this.histories.filter((it) => it.userId === userId).map(({ id }) => [id, this.ids.encodeId(id)]),
    );
    const tab = { name, client, histories, userId };
    this.tabs.push(tab);
    return tab;
  }

  /** Sum of a counter over the workers, of the lines that hold `tag`. */
  async counted(metric: string, tag = ''): Promise<number> {
    let sum = 0;
    for (const { url } of this.workers) {
      const text = await (await fetch(`${url}/metrics`)).text();
      for (const line of text.split('\n')) {
        if (line.startsWith(metric) && line.includes(tag))
          sum += Number(line.slice(line.lastIndexOf(' ') + 1));
      }
    }
    return sum;
  }

  /** `kill -9`. Its heartbeat row is taken away at the end, not at once: the others have to live with it. */
  async kill(member: Member): Promise<void> {
    member.killed = true;
    await member.process.kill();
  }

  /** Stops everything and looks whether something was left behind. @throws Error that names it */
  async close(): Promise<void> {
    const left: string[] = [];
    await Promise.all([this.writer.close(), this.rowWriter?.close()]);
    clearInterval(this.following);
    await Promise.all(this.screens.map((screen) => screen.close()));
    for (const { client } of this.tabs) client.close();
    const alive = this.members.filter((member) => member.alive);
    const exits = await Promise.all(alive.map((member) => member.process.stop(15_000)));
    exits.forEach(({ code, signal }, i) => {
      if (code === 0) return;
      const { kind, process } = alive[i]!;
      left.push(`${kind} ended with ${code ?? signal}, its last words ${process.stderr.slice(-3_000)}`);
    });
    for (const { kind, process } of this.members) {
      if (process.crash) left.push(`an error in a ${kind} that nobody caught: ${process.crash}`);
    }
    await this.proxies?.database.close();
    await this.proxies?.broker.close();
    await eventually(async () => (await this.vhost.queues()).length === 0, { within: 5_000 }).catch(() =>
      left.push('queues on the broker'),
    );
    const killed = this.members.filter((member) => member.killed).map(({ process }) => process.pid);
    const rows = await this.database.psql<{ server_name: string; pid: number }>(
      'SELECT server_name, pid FROM worker_process',
    );
    for (const { server_name, pid } of rows) if (!killed.includes(pid)) left.push(`row of ${server_name}`);
    const sessions = await this.database.psql<{ application_name: string }>(
      `SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    );
    for (const session of sessions) left.push(`database session ${session.application_name}`);
    await this.vhost.delete();
    await this.database.drop();
    rmSync(this.folder, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`);
  }
}

const clockOff = (seconds: number): Record<string, string> => ({
  NODE_OPTIONS: `--import ${new URL('shift-clock.mjs', import.meta.url)}`,
  CLOCK_SHIFT_MS: String(1000 * seconds),
});
