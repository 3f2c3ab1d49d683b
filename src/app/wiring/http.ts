/** The HTTP side of a worker: its routes and their dependencies. */
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import type { ConnectionManager } from '../../connections/manager.js';
import type { HistoryId } from '../../core/events.js';
import type { SqlAccounts } from '../../database/accounts.js';
import type { HistoryCaller } from '../../database/port.js';
import { EVENTS } from '../../events/registry.js';
import { type App, buildHttpApp } from '../../http/app.js';
import type { Authentication } from '../../http/auth/authentication.js';
import { earlyRefusal } from '../../http/auth/early-refusal.js';
import type { IdCodec } from '../../http/auth/id-codec.js';
import { limitBodies, limitRequests } from '../../http/auth/limit-requests.js';
import type { RequestLimits } from '../../http/auth/rate-limit.js';
import { registerOpenApi } from '../../http/openapi.js';
import { registerCluster } from '../../http/routes/cluster.js';
import { type DemoPathSource, registerDemoPath } from '../../http/routes/demo-path.js';
import { registerMarks } from '../../http/routes/marks.js';
import { registerStream } from '../../http/routes/stream.js';
import { StreamOpener } from '../../http/routes/stream-opening.js';
import { registerSubscriptions } from '../../http/routes/subscriptions.js';
import { registerSystem } from '../../http/routes/system.js';
import { registerWeb } from '../../http/routes/web.js';
import { Batcher } from '../../lib/batcher.js';
import type { TakeOver } from '../../node-internals/take-over.js';
import type { WorkerStatusSource } from '../status.js';
import { VERSION } from '../version.js';
import type { BackgroundJobs } from './background-jobs.js';
import type { RuntimeContext, WatchedDatabase } from './infrastructure.js';
import { resourceRoutes } from './rest-api.js';
import type { WorkerCluster } from './worker-cluster.js';

/** Access checks of streams with `history_id`: a single one is answered at once, many share statements. */
const ACCESS_BATCHES = { burst: 8, perSecond: 4, maxBatch: 200, worthwhile: 100 };
interface HistoryQuestion {
  caller: HistoryCaller;
  historyIds: readonly HistoryId[];
}

export interface WorkerHttpOptions {
  config: Config;
  /** Undefined: no demo. */
  demoPath: DemoPathSource | undefined;
  /** False if the embedding application identifies callers. */
  signIn: boolean;
  database: WatchedDatabase;
  bus: Bus;
  manager: ConnectionManager;
  takeOver: TakeOver | undefined;
  authenticator: Authentication;
  accounts: SqlAccounts;
  idCodec: IdCodec;
  limits: RequestLimits;
  status: WorkerStatusSource;
  cluster: WorkerCluster;
  /** Undefined beside a Galaxy, which serves its own API. */
  backgroundJobs: BackgroundJobs | undefined;
  runtime: RuntimeContext;
}

export function createWorkerHttp({
  config,
  demoPath,
  signIn,
  database,
  bus,
  manager,
  takeOver,
  authenticator,
  accounts,
  idCodec,
  limits,
  status,
  cluster,
  backgroundJobs,
  runtime: { logger, clock },
}: WorkerHttpOptions): App {
  const access = new Batcher<HistoryQuestion, Set<HistoryId>>({
    ...ACCESS_BATCHES,
    clock,
    ask: (questions) => accounts.accessibleToEach(questions),
  });
  const stream = {
    enabled: config.sse.enabled,
    manager,
    authenticator,
    accounts: {
      accessibleHistories: (caller: HistoryCaller, historyIds: readonly HistoryId[]) =>
        access.get({ caller, historyIds }),
    },
    decodeId: (text: string) => idCodec.decodeId(text),
    opening: new StreamOpener(manager, takeOver),
    limits,
  };
  return buildHttpApp({
    http: config.http,
    logger: logger.child({ component: 'http' }),
    bareRoutes: [(app) => registerStream(app, stream)],
    refuseEarly: earlyRefusal(limits, authenticator, config.http.prefix),
    authenticator,
    limitRequests: limitRequests(limits, authenticator, config.http.prefix),
    limitBodies: limitBodies(limits, authenticator),
    routes: [
      ...(backgroundJobs ? [(app: App) => registerOpenApi(app, { version: VERSION })] : []),
      (app) =>
        registerSystem(app, {
          authenticator,
          accounts,
          idCodec,
          source: status,
          version: VERSION,
          settings: {
            sseUpdates: config.sse.enabled,
            notifications: config.features.notifications,
            interactiveTools: config.features.interactiveTools,
          },
        }),
      (app) =>
        registerCluster(app, { authenticator, accounts, idCodec, source: cluster.source, kinds: EVENTS }),
      (app) =>
        registerSubscriptions(app, {
          accounts,
          publisher: bus,
          idCodec,
          limits,
          enabled: config.sse.enabled,
        }),
      ...(backgroundJobs
        ? [(app: App) => registerMarks(app, { publisher: bus, limits, enabled: config.sse.enabled })]
        : []),
      ...(demoPath ? [(app: App) => registerDemoPath(app, demoPath)] : []),
      (app) => registerWeb(app, { demo: demoPath !== undefined, apiDocs: backgroundJobs !== undefined }),
      ...(backgroundJobs
        ? resourceRoutes({
            positions: manager.moments,
            config,
            database,
            accounts,
            authenticator,
            signIn,
            idCodec,
            limits,
            clock,
            backgroundJobs,
          })
        : []),
    ],
  });
}
