import { rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { InProcessBus } from '../../src/bus/in-process/bus.js';
import type { AuthConfig, HttpConfig } from '../../src/config/config.js';
import type { ControlTask } from '../../src/core/events.js';
import { SqlAccounts } from '../../src/database/accounts.js';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { migrate } from '../../src/database/schema.js';
import { SqliteDatabase } from '../../src/database/sqlite/database.js';
import { type App, buildHttpApp, type RouteModule } from '../../src/http/app.js';
import { GalaxyAuthenticator } from '../../src/http/auth/galaxy-authenticator.js';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import { countFlow, type StatusSource } from '../../src/http/routes/status-source.js';
import { registerSubscriptions } from '../../src/http/routes/subscriptions.js';
import { registerSystem } from '../../src/http/routes/system.js';
import { registerWeb } from '../../src/http/routes/web.js';
import { type Clock, systemClock } from '../../src/lib/clock.js';
import { noOutbox } from '../../src/outbox/writer.js';
import { HistoryAccess } from '../../src/resources/histories/access.js';
import { HistoryContents } from '../../src/resources/histories/contents.js';
import { registerHistoryRoutes } from '../../src/resources/histories/index.js';
import { HistoryManager } from '../../src/resources/histories/manager.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { formatPrometheus } from '../../src/telemetry/prometheus.js';
import { dataFolder } from './data-folder.js';

export const SECRET = 'USING THE DEFAULT IS NOT SECURE!';
export const ANONYMOUS_SESSION_KEY = '0123456789abcdef0123456789abcdef';
export const ALICE_SESSION_KEY = '9f86d081884c7d659a2feaa0c55ad015';
export const ENDED_SESSION_KEY = 'ffffffffffffffffffffffffffffffff';
/** Row ids of what `openSeededDatabase` makes. */
export const ALICE = 1;
export const BOB = 2;
export const ADMIN = 3;
export const HISTORY = { alice: 1, bob: 2, bobPublished: 3, anonymous: 4 } as const;
export const SESSION = { anonymous: 1, alice: 2 } as const;

/** A new SQLite database in a directory of its own. */
export async function openSeededDatabase(): Promise<{ database: SqliteDatabase; close(): Promise<void> }> {
  const directory = dataFolder('lightcone-http-');
  const logger = createLogger('silent');
  const database = new SqliteDatabase({ file: join(directory, 'test.sqlite'), logger });
  await database.start();
  await migrate(database, logger);
  const insert = async (
    table: string,
    row: Record<string, string | number | boolean | null>,
  ): Promise<void> => {
    const names = Object.keys(row);
    const places = names.map((_, index) => `$${index + 1}`);
    await database.run(`INSERT INTO ${table} (${names}) VALUES (${places})`, Object.values(row));
  };
  for (const [id, name] of [
    [ALICE, 'alice'],
    [BOB, 'bob'],
    [ADMIN, 'admin'],
  ] as const) {
    await insert('galaxy_user', {
      id,
      email: `${name}@example.org`,
      password: '',
      active: true,
      deleted: false,
    });
    await insert('api_keys', {
      user_id: id,
      key: `key-${name}`,
      create_time: '2026-01-01 00:00:00.000000',
      deleted: false,
    });
  }
  await insert('lightcone_admin', { user_id: ADMIN });
  await insert('history', { id: HISTORY.alice, user_id: ALICE, name: "alice's", deleted: false });
  await insert('history', { id: HISTORY.bob, user_id: BOB, name: "bob's", deleted: false });
  await insert('history', {
    id: HISTORY.bobPublished,
    user_id: BOB,
    name: 'for all',
    deleted: false,
    published: true,
  });
  await insert('history', { id: HISTORY.anonymous, user_id: null, name: 'of nobody', deleted: false });
  for (const [id, session_key, user_id, is_valid, current_history_id] of [
    [SESSION.anonymous, ANONYMOUS_SESSION_KEY, null, true, HISTORY.anonymous],
    [SESSION.alice, ALICE_SESSION_KEY, ALICE, true, HISTORY.alice],
    [3, ENDED_SESSION_KEY, ALICE, false, HISTORY.alice],
  ] as const) {
    await insert('galaxy_session', { id, session_key, user_id, is_valid, current_history_id });
  }
  await insert('galaxy_session_to_history', { session_id: SESSION.anonymous, history_id: HISTORY.anonymous });
  return {
    database,
    close: async () => {
      await database.stop();
      rmSync(directory, { recursive: true });
    },
  };
}

export interface HttpServerOptions {
  http?: Partial<HttpConfig>;
  auth?: Partial<AuthConfig>;
  sseUpdates?: boolean;
  readyProblems?: () => string[];
  clock?: Clock;
  routes?: RouteModule[];
}

export interface HttpServer {
  app: App;
  /** `http://127.0.0.1:<port>` with the prefix, without a slash at the end. */
  url: string;
  database: SqliteDatabase;
  bus: InProcessBus;
  idCodec: IdCodec;
  authenticator: GalaxyAuthenticator;
  /** What came over the bus. */
  tasks: ControlTask[];
  close(): Promise<void>;
}

/** Everything around the stream, over a real socket and a real database. */
export async function startHttpServer(options: HttpServerOptions = {}): Promise<HttpServer> {
  const { database, close } = await openSeededDatabase();
  const logger = createLogger('silent');
  const metrics = new CountingMetrics();
  const clock = options.clock ?? systemClock;
  const bus = new InProcessBus({ logger, metrics, clock });
  const tasks: ControlTask[] = [];
  bus.subscribe({ onTask: (task) => tasks.push(task as ControlTask), onTick: () => {}, onGap: () => {} });
  await bus.start();
  const idCodec = new IdCodec(SECRET);
  const accounts = new SqlAccounts(database, { standalone: true });
  const auth = { adminUsers: [], apiAllowRunAs: [], bootstrapAdminApiKey: undefined, ...options.auth };
  const authenticator = new GalaxyAuthenticator({ accounts, idCodec, auth, clock });
  const http = {
    prefix: '',
    allowedOrigins: [],
    infrastructureUrl: 'http://localhost:8080',
    ...options.http,
  };
  const access = new HistoryAccess(accounts);
  const log = new SqlChangeLog(database);
  const sseUpdates = options.sseUpdates ?? true;
  const app = buildHttpApp({
    http,
    logger,
    authenticator,
    routes: [
      (scope) =>
        registerSystem(scope, {
          authenticator,
          accounts,
          idCodec,
          source: statusSource(metrics, options.readyProblems ?? (() => [])),
          version: '9.9.9',
          settings: { sseUpdates, notifications: false, interactiveTools: false },
        }),
      (scope) =>
        registerSubscriptions(scope, {
          accounts,
          publisher: bus,
          idCodec,
          enabled: sseUpdates,
        }),
      (scope) =>
        registerHistoryRoutes(scope, {
          idCodec,
          histories: new HistoryManager(database, access, noOutbox, log),
          contents: new HistoryContents(
            database,
            access,
            {
              at: () => undefined,
              ofToken: () => undefined,
              rowClock: 0,
              newest: () => undefined,
              oldest: () => undefined,
              floor: (moment) => moment,
              isWhole: () => false,
            },
            log,
          ),
        }),
      (scope) => registerWeb(scope, { demo: true, apiDocs: false }),
      ...(options.routes ?? []),
    ],
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    app,
    url: `http://127.0.0.1:${port}${http.prefix}`,
    database,
    bus,
    idCodec,
    authenticator,
    tasks,
    close: async () => {
      await app.close();
      await bus.stop();
      await close();
    },
  };
}

function statusSource(metrics: CountingMetrics, readyProblems: () => string[]): StatusSource {
  return {
    liveProblems: () => [],
    readyProblems,
    problems: readyProblems,
    installation: () => null,
    prometheus: () => formatPrometheus(metrics.totals()),
    status: () => ({
      server: {
        name: 'main',
        hostname: 'test',
        pid: process.pid,
        version: '9.9.9',
        mode: 'standalone',
        started: '2026-01-01T00:00:00',
        uptime_seconds: 1,
        draining: false,
      },
      problems: readyProblems(),
      database: { kind: 'sqlite', display: 'sqlite:///test.sqlite', problem: null, statements: 1 },
      bus: { kind: 'in-process', display: 'in-process', problem: null },
      monitor: { leads: true, leader: 'main', source: 'data_version', cursor: null, cursor_age_ms: null },
      watermark: { until: null, age_ms: null },
      connections: { open: 0, users: 0, sessions: 0, viewed_histories: 0, limit: 20_000 },
      flow: countFlow(metrics),
    }),
  };
}
