/**
 * One worker: serves the stream, and is a candidate for the monitor's role (not where it sits beside a Galaxy, whose own
 * election a foreign web process must not enter).
 *
 * Start order: HTTP first, so that `/readyz` can say what is waited for; then database, schema, bus, connection manager,
 * election. Stop order: no new streams, role handed over, streams drained, then everything else in reverse.
 */
import { chmod } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import type { TcpAddress } from '../../config/listen.js';
import { ConnectionManager } from '../../connections/manager.js';
import type { ConnectionManagerOptions } from '../../connections/manager-options.js';
import type { HistoryId, Tick } from '../../core/events.js';
import { SqlAccounts } from '../../database/accounts.js';
import { SqlChangeLog } from '../../database/change-log.js';
import { seedDemo } from '../../database/demo.js';
import { SqlNotificationLog } from '../../database/notification-log.js';
import type { Database, HistoryCaller } from '../../database/port.js';
import { SqlPositionStore } from '../../database/position-store.js';
import { EVENTS } from '../../events/registry.js';
import { type App, buildHttpApp } from '../../http/app.js';
import { Addresses } from '../../http/auth/addresses.js';
import { ApplicationAuthenticator, type Authenticate } from '../../http/auth/application-authenticator.js';
import { Authenticator } from '../../http/auth/authentication.js';
import { earlyRefusal } from '../../http/auth/early-refusal.js';
import { IdCodec } from '../../http/auth/id-codec.js';
import { limitRequests } from '../../http/auth/limit-requests.js';
import { RequestLimits } from '../../http/auth/rate-limit.js';
import { registerOpenApi } from '../../http/openapi.js';
import { registerCluster } from '../../http/routes/cluster.js';
import { registerMarks } from '../../http/routes/marks.js';
import { registerStream } from '../../http/routes/stream.js';
import { StreamOpener } from '../../http/routes/stream-opening.js';
import { registerSubscriptions } from '../../http/routes/subscriptions.js';
import { registerSystem } from '../../http/routes/system.js';
import { registerWeb } from '../../http/routes/web.js';
import { Batcher } from '../../lib/batcher.js';
import { type Lifecycle, Releasers, sleep } from '../../lib/lifecycle.js';
import { probeNodeInternals } from '../../node-internals/probe.js';
import type { CountingMetrics } from '../../telemetry/counting-metrics.js';
import { SkippedRows } from '../../telemetry/skipped-rows.js';
import { EventPublisher } from '../embedding/event-publisher.js';
import { WorkerStatusSource } from '../status.js';
import { VERSION } from '../version.js';
import { type BackgroundJobs, createDuties } from '../wiring/background-jobs.js';
import { type Candidate, createCandidate } from '../wiring/candidate.js';
import {
  chooseHintSource,
  createBus,
  createDatabase,
  createMetrics,
  MONITOR_CONNECTIONS,
  prepareSchema,
  type RuntimeContext,
  type WatchedDatabase,
} from '../wiring/infrastructure.js';
import { installationOf } from '../wiring/installation.js';
import { resourceRoutes } from '../wiring/rest-api.js';
import { createWorkerCluster, type WorkerCluster } from '../wiring/worker-cluster.js';
import { GracefulClose } from './graceful-close.js';
import { listenError } from './listen-error.js';
import { MetricsServer, type ProcessReport } from './metrics-server.js';
import { becomeSoleServer } from './sole-server.js';
import { removeStaleSocket } from './stale-socket.js';

/** Beside those of `database_engine_option_pool_size`, which serve requests: tabs that come back hold up nothing else. */
const CATCH_UP_CONNECTIONS = 2;

/** While it is being replaced, each connection may ask once more. */
const LAST_REQUEST_MS = 500;

/** Streams that are opened with `history_id`: a lone one is answered at once, a crowd shares statements. */
const ACCESS_BATCHES = { burst: 8, perSecond: 4, maxBatch: 200, worthwhile: 100 };
interface HistoryQuestion {
  caller: HistoryCaller;
  historyIds: readonly HistoryId[];
}

export interface WorkerOptions {
  config: Config;
  /** Unlike that of every other process on the database. */
  serverName: string;
  demo: boolean;
  /** Others listen on the same socket: it is opened only when this worker is ready, and closed before it drains. */
  supervised: boolean;
  /** Asked at the start. True: it does not listen, the server of another program hands requests to `handle`. */
  isMounted?: () => boolean;
  /** Says who calls, in the place of Galaxy's tables. */
  authenticate?: Authenticate | undefined;
  runtime: RuntimeContext;
}

/** What the settings chose; made before the worker, because its modules are loaded only then. */
interface WorkerComponents {
  metrics: CountingMetrics;
  closeMetrics: () => Promise<void>;
  database: WatchedDatabase;
  bus: Bus;
  idCodec: IdCodec;
  /** Undefined beside a Galaxy, which serves its own API. */
  backgroundJobs: BackgroundJobs | undefined;
}

export class Worker implements Lifecycle {
  private readonly releasers = new Releasers();
  private readonly metrics: CountingMetrics;
  private readonly database: WatchedDatabase;
  readonly bus: Bus;
  readonly manager: ConnectionManager;
  private readonly app: App;
  private readonly httpClose: GracefulClose;
  private readonly backgroundJobs: BackgroundJobs | undefined;
  private readonly status: WorkerStatusSource;
  /** Undefined beside a Galaxy, whose own tables and API bring events. */
  readonly events: EventPublisher | undefined;
  private readonly cluster: WorkerCluster;
  private candidate: Candidate | undefined;
  private leaderName: string | undefined;
  private stopping: Promise<void> | undefined;
  private listening = false;
  private prepared = false;
  private installation: string | undefined;

  static async create(options: WorkerOptions): Promise<Worker> {
    const { config, serverName, runtime } = options;
    const { metrics, close } = await createMetrics(config, runtime);
    const database = await createDatabase(config.database, runtime);
    const bus = await createBus(config, serverName, metrics, runtime);
    const idCodec = new IdCodec(config.auth.idSecret);
    const backgroundJobs = config.sse.attachToGalaxy
      ? undefined
      : await createDuties({ config, database, bus, idCodec, runtime });
    return new Worker(options, { metrics, closeMetrics: close, database, bus, idCodec, backgroundJobs });
  }

  private constructor(
    private readonly options: WorkerOptions,
    { metrics, closeMetrics, database, bus, idCodec, backgroundJobs }: WorkerComponents,
  ) {
    const { config, runtime } = options;
    const { logger, clock, random } = runtime;
    this.metrics = metrics;
    this.releasers.add('metrics', closeMetrics);
    this.database = database;
    this.bus = bus;
    this.backgroundJobs = backgroundJobs;

    const encodeId = (id: number): string => idCodec.encodeId(id);
    const decodeId = (text: string): number | undefined => idCodec.decodeId(text);
    const accounts = new SqlAccounts(this.database, { standalone: backgroundJobs !== undefined });
    const limits = new RequestLimits(config.http.apiRateLimit, new Addresses(config.http.trustProxy), clock);
    const { authenticate } = options;
    const authenticator = authenticate
      ? new ApplicationAuthenticator(authenticate, { logger: logger.child({ component: 'http' }), clock })
      : new Authenticator({ accounts, idCodec, auth: config.auth, clock, limits });
    const skippedRows = new SkippedRows({ logger: logger.child({ component: 'database' }), clock, metrics });
    const logsOf = (db: Database): Pick<ConnectionManagerOptions, 'changeLog' | 'notifications'> => ({
      changeLog: new SqlChangeLog(db, skippedRows.rows),
      notifications: config.features.notifications
        ? new SqlNotificationLog(db, encodeId, skippedRows.rows)
        : undefined,
    });
    const { takeOver, createDirectWrites } = probeNodeInternals(config.sse.nodeInternals);
    this.manager = new ConnectionManager({
      kinds: EVENTS,
      config: config.sse,
      positions: new SqlPositionStore(this.database),
      ...logsOf(this.database),
      returning: logsOf(this.database.lane('catch-up', CATCH_UP_CONNECTIONS)),
      permissions: {
        revoked: async (principals) => {
          const valid = await authenticator.recheck(principals);
          return new Set(principals.filter((principal) => !valid.has(principal)));
        },
        accessible: (questions) => accounts.accessibleToEach(questions),
        forgetSession: (sessionId) => authenticator.forgetSession(sessionId),
      },
      subscribed: () => this.bus.subscribed,
      encodeId,
      decodeId,
      clock,
      random,
      logger: logger.child({ component: 'connections' }),
      metrics,
      createDirectWrites,
    });
    const access = new Batcher<HistoryQuestion, Set<HistoryId>>({
      ...ACCESS_BATCHES,
      clock,
      ask: (questions) => accounts.accessibleToEach(questions),
    });
    const stream = {
      enabled: config.sse.enabled,
      manager: this.manager,
      authenticator,
      accounts: {
        accessibleHistories: (caller: HistoryCaller, historyIds: readonly HistoryId[]) =>
          access.get({ caller, historyIds }),
      },
      decodeId,
      opening: new StreamOpener(this.manager, takeOver),
      limits,
    };
    this.events =
      backgroundJobs &&
      new EventPublisher({
        database,
        outboxWriter: backgroundJobs.outboxWriter,
        encodeId,
        notifications: config.features.notifications,
      });
    this.status = this.createStatus();
    this.cluster = createWorkerCluster({
      config,
      serverName: options.serverName,
      clock,
      bus,
      manager: this.manager,
      metrics,
      status: this.status,
      candidate: () => this.candidate,
      leaderName: () => this.leaderName,
    });
    this.app = buildHttpApp({
      http: config.http,
      logger: logger.child({ component: 'http' }),
      bareRoutes: [(app) => registerStream(app, stream)],
      refuseEarly: earlyRefusal(limits, authenticator, config.http.prefix),
      authenticator,
      limitRequests: limitRequests(limits, authenticator, config.http.prefix),
      routes: [
        ...(backgroundJobs ? [(app: App) => registerOpenApi(app, { version: VERSION })] : []),
        (app) =>
          registerSystem(app, {
            authenticator,
            accounts,
            idCodec,
            source: this.status,
            version: VERSION,
            settings: {
              sseUpdates: config.sse.enabled,
              notifications: config.features.notifications,
              interactiveTools: config.features.interactiveTools,
            },
          }),
        (app) => registerCluster(app, { authenticator, accounts, idCodec, source: this.cluster.source }),
        (app) =>
          registerSubscriptions(app, {
            accounts,
            publisher: this.bus,
            idCodec,
            limits,
            enabled: config.sse.enabled,
          }),
        ...(backgroundJobs
          ? [
              (app: App) =>
                registerMarks(app, {
                  publisher: this.bus,
                  limits,
                  enabled: config.sse.enabled,
                }),
            ]
          : []),
        (app) => registerWeb(app, { demo: this.options.demo, apiDocs: backgroundJobs !== undefined }),
        ...(backgroundJobs
          ? resourceRoutes({
              positions: this.manager.log,
              config,
              database,
              accounts,
              authenticator,
              signIn: authenticate === undefined,
              idCodec,
              limits,
              clock,
              backgroundJobs,
            })
          : []),
      ],
    });
    this.httpClose = new GracefulClose(this.app);
  }

  /** Where it listens, as a URL or a socket path. */
  get address(): string {
    const { listen } = this.options.config.http;
    if (listen.kind === 'unix') return `unix:${listen.path}`;
    const { port } = this.app.server.address() as AddressInfo;
    return `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${port}`;
  }

  /** For a request that another program's server has received. */
  handle(request: IncomingMessage, response: ServerResponse): void {
    this.app.server.emit('request', request, response);
  }

  get leading(): boolean {
    return this.candidate?.leadership.leading ?? false;
  }

  /** What holds publishing up while this worker leads; undefined when nothing does. */
  get monitorProblem(): string | undefined {
    return this.candidate?.monitor.problem();
  }

  /** Resolves when the worker is ready. @throws LightconeError for what waiting does not mend (address in use, schema) */
  async start(signal?: AbortSignal): Promise<void> {
    const { config, demo, supervised, isMounted, runtime } = this.options;
    const mounted = isMounted?.() ?? false;
    const { logger } = runtime;
    this.releasers.add('database', () => this.database.stop());
    if (mounted) {
      this.releasers.add('http', () => this.app.close());
      await this.app.ready();
    } else if (!supervised) {
      if (config.metricsListen) await this.listenForMetrics(config.metricsListen);
      await this.listen();
    }
    this.releasers.add('announcer', () => this.cluster.announcer.stop());
    await this.cluster.announcer.start();
    await this.database.start(signal);
    if (config.bus.kind === 'in-process' && config.database.kind === 'sqlite') {
      const lock = await becomeSoleServer(this.database, config.database.display);
      this.releasers.add('sole server', () => lock.release());
    }
    this.installation = await installationOf(this.database);
    await prepareSchema(this.database, config.sse.attachToGalaxy, logger);
    if (demo && (await seedDemo(this.database)) === undefined) {
      logger.info('demo data is left as it is: the database has users already');
    }
    this.prepared = true;
    if (config.sse.enabled) await this.startDelivery(signal);
    else await this.startDuties();
    if (supervised) await this.listen();
    const address = mounted ? `mounted at ${config.http.prefix}` : this.address;
    logger.info({ address, serverName: this.options.serverName }, 'ready');
  }

  private async startDelivery(signal: AbortSignal | undefined): Promise<void> {
    const { config, serverName, runtime } = this.options;
    const { bus, manager, metrics, database } = this;
    bus.subscribe({
      onTask: (task) => {
        if (task.task === 'reconfigure_watcher') this.candidate?.leadership.electNow();
        manager.onTask(task);
      },
      onTick: (tick: Tick) => {
        this.leaderName = tick.leader;
        manager.onTick(tick);
      },
      onGap: (cause) => manager.onGap(cause),
      onNotice: (notice) => this.cluster.source.onNotice(notice),
    });
    this.releasers.add('bus', () => bus.stop());
    await bus.start(signal);
    this.releasers.add('connections', () => manager.stop());
    await manager.start(signal);
    this.startGauges();
    if (config.sse.attachToGalaxy) return;
    await this.startDuties();
    const monitorDatabase = database.lane('monitor', MONITOR_CONNECTIONS);
    const createHintSource = await chooseHintSource(
      monitorDatabase,
      config.sse.pollIntervalSeconds,
      runtime.logger,
    );
    this.candidate = createCandidate(
      {
        serverName,
        appType: 'webapp',
        config: config.sse,
        database: monitorDatabase,
        createHintSource,
        bus,
        metrics,
        backgroundJobs: this.backgroundJobs?.role,
      },
      runtime,
    );
    await this.candidate.leadership.start();
  }

  private async startDuties(): Promise<void> {
    const { backgroundJobs } = this;
    if (!backgroundJobs) return;
    this.releasers.add('duties', () => backgroundJobs.stop());
    await backgroundJobs.start();
  }

  /** For `metrics_listen`. */
  report(): ProcessReport {
    return {
      process: this.options.serverName,
      totals: this.metrics.totals(),
      ready: this.status.readyProblems().length === 0,
      problems: this.status.problems(),
    };
  }

  private async listenForMetrics(address: TcpAddress): Promise<void> {
    const server = new MetricsServer(address, '--metrics-listen', async () => [this.report()]);
    this.releasers.add('metrics server', () => server.stop());
    await server.start();
  }

  private async listen(): Promise<void> {
    const { listen } = this.options.config.http;
    this.releasers.add('http', () => this.httpClose.close(this.options.config.sse.drainTimeoutSeconds * 100));
    try {
      if (listen.kind === 'unix') {
        // Under a supervisor the socket is the supervisor's, and so is this.
        if (!this.options.supervised) await removeStaleSocket(listen.path);
        await this.app.listen({ path: listen.path });
        await chmod(listen.path, listen.mode);
      } else {
        await this.app.listen({ host: listen.host, port: listen.port, backlog: 4096 });
      }
      this.listening = true;
    } catch (error) {
      throw listenError(listen, '--listen', error);
    }
  }

  private startGauges(): void {
    const { queueMetricsIntervalSeconds, enableSseConnectionMetrics } = this.options.config;
    if (queueMetricsIntervalSeconds === 0 || !enableSseConnectionMetrics) return;
    const server_name = this.options.serverName;
    const timer = setInterval(() => {
      const { all, ofUsers } = this.manager.registry;
      this.metrics.gauge('galaxy.sse.connections.active', all.length, { kind: 'broadcast', server_name });
      this.metrics.gauge('galaxy.sse.connections.active', ofUsers, { kind: 'per_user', server_name });
    }, queueMetricsIntervalSeconds * 1000);
    this.releasers.add('gauges', () => clearInterval(timer));
  }

  private createStatus(): WorkerStatusSource {
    return new WorkerStatusSource({
      config: this.options.config,
      serverName: this.options.serverName,
      clock: this.options.runtime.clock,
      database: this.database,
      bus: this.bus,
      manager: this.manager,
      metrics: this.metrics,
      prepared: () => this.prepared,
      candidate: () => this.candidate,
      leaderName: () => this.leaderName,
      installation: () => this.installation,
    });
  }

  /** Graceful, within `drain_timeout`. */
  stop(): Promise<void> {
    this.stopping ??= this.end();
    return this.stopping;
  }

  private async end(): Promise<void> {
    const { config, supervised, runtime } = this.options;
    const { logger } = runtime;
    // From here on `/readyz` says 503 and new streams end at once.
    const drained = this.manager.drain(config.sse.drainTimeoutSeconds * 1000 * 0.8);
    const handedOver = supervised && this.listening;
    if (handedOver) this.httpClose.handOver();
    await this.candidate?.leadership.stop();
    await drained;
    if (handedOver) await sleep(LAST_REQUEST_MS);
    await this.cluster.announcer.stop();
    await this.releasers.release((name, error) =>
      logger.warn({ part: name, err: error }, 'a part did not stop cleanly'),
    );
  }
}
