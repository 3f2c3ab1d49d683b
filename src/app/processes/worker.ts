/**
 * One worker: serves the stream, and is a candidate for the monitor's role (not where it sits beside a Galaxy, whose own
 * election a foreign web process must not enter).
 *
 * Start order: HTTP first, so that `/readyz` can say what is waited for; then database, schema, bus, connection manager,
 * election. Stop order: no new streams, role handed over, streams drained, then everything else in reverse.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import type { TcpAddress } from '../../config/listen.js';
import type { ConnectionManager } from '../../connections/manager.js';
import { SqlAccounts } from '../../database/accounts.js';
import { seedDemo } from '../../database/demo.js';
import type { App } from '../../http/app.js';
import { Addresses } from '../../http/auth/addresses.js';
import { ApplicationAuthenticator, type Authenticate } from '../../http/auth/application-authenticator.js';
import { GalaxyAuthenticator } from '../../http/auth/galaxy-authenticator.js';
import { IdCodec } from '../../http/auth/id-codec.js';
import { RequestLimits } from '../../http/auth/rate-limit.js';
import { type Lifecycle, Releasers, sleep } from '../../lib/lifecycle.js';
import { probeNodeInternals } from '../../node-internals/probe.js';
import type { CountingMetrics } from '../../telemetry/counting-metrics.js';
import { EventPublisher } from '../embedding/event-publisher.js';
import { WorkerStatusSource } from '../status.js';
import { type BackgroundJobs, createBackgroundJobs } from '../wiring/background-jobs.js';
import { createConnections } from '../wiring/connections.js';
import { DemoPath, FollowedBus } from '../wiring/demo-path.js';
import { createWorkerHttp } from '../wiring/http.js';
import {
  createBus,
  createDatabase,
  createMetrics,
  prepareSchema,
  type RuntimeContext,
  type WatchedDatabase,
} from '../wiring/infrastructure.js';
import { installationOf } from '../wiring/installation.js';
import { createWorkerCluster, type WorkerCluster } from '../wiring/worker-cluster.js';
import { MetricsServer, type ProcessReport } from './metrics-server.js';
import { becomeSoleServer } from './sole-server.js';
import { WorkerDelivery } from './worker-delivery.js';
import { WorkerListener } from './worker-listener.js';

/** Time for one more request on each connection during a replacement. */
const LAST_REQUEST_MS = 500;

export interface WorkerOptions {
  config: Config;
  /** Unique among the processes on the database. */
  serverName: string;
  demo: boolean;
  /** Others listen on the same socket: it opens only when this worker is ready, and closes before it drains. */
  supervised: boolean;
  /** Called at the start. If true, it does not listen: the server of another program passes requests to `handle`. */
  isMounted?: () => boolean;
  /** Identifies callers instead of Galaxy's tables. */
  authenticate?: Authenticate | undefined;
  runtime: RuntimeContext;
}

/** Chosen by the settings and created before the worker, because their modules are loaded on demand. */
interface WorkerComponents {
  metrics: CountingMetrics;
  closeMetrics: () => Promise<void>;
  database: WatchedDatabase;
  bus: Bus;
  /** Only for the demo. */
  path: DemoPath | undefined;
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
  private readonly listener: WorkerListener;
  private readonly delivery: WorkerDelivery;
  private readonly status: WorkerStatusSource;
  /** Undefined beside a Galaxy, whose own tables and API are the source of events. */
  readonly events: EventPublisher | undefined;
  private readonly cluster: WorkerCluster;
  private stopping: Promise<void> | undefined;
  private prepared = false;
  private installation: string | undefined;

  static async create(options: WorkerOptions): Promise<Worker> {
    const { config, serverName, demo, runtime } = options;
    const { metrics, close } = await createMetrics(config, runtime);
    const database = await createDatabase(config.database, runtime);
    const path = demo ? new DemoPath(() => performance.timeOrigin + performance.now()) : undefined;
    const plainBus = await createBus(config, serverName, metrics, runtime);
    const bus = path ? new FollowedBus(plainBus, path) : plainBus;
    const idCodec = new IdCodec(config.auth.idSecret);
    const backgroundJobs = config.sse.attachToGalaxy
      ? undefined
      : await createBackgroundJobs({ config, database, bus, idCodec, runtime });
    return new Worker(options, {
      metrics,
      closeMetrics: close,
      database,
      bus,
      path,
      idCodec,
      backgroundJobs,
    });
  }

  private constructor(
    private readonly options: WorkerOptions,
    { metrics, closeMetrics, database, bus, path, idCodec, backgroundJobs }: WorkerComponents,
  ) {
    const { config, runtime } = options;
    const { logger, clock } = runtime;
    this.metrics = metrics;
    this.releasers.add('metrics', closeMetrics);
    this.database = database;
    this.bus = bus;

    const accounts = new SqlAccounts(this.database, { standalone: backgroundJobs !== undefined });
    const limits = new RequestLimits(config.http.apiRateLimit, new Addresses(config.http.trustProxy), clock);
    const { authenticate } = options;
    const authenticator = authenticate
      ? new ApplicationAuthenticator(authenticate, { logger: logger.child({ component: 'http' }), clock })
      : new GalaxyAuthenticator({ accounts, idCodec, auth: config.auth, clock, limits });
    const { takeOver, createDirectWrites } = probeNodeInternals(config.sse.nodeInternals);
    this.manager = createConnections({
      config,
      database,
      bus,
      accounts,
      authenticator,
      idCodec,
      metrics,
      createDirectWrites,
      runtime,
    });
    this.events =
      backgroundJobs &&
      new EventPublisher({
        database,
        outboxWriter: backgroundJobs.outboxWriter,
        encodeId: (id) => idCodec.encodeId(id),
        notifications: config.features.notifications,
      });
    this.delivery = new WorkerDelivery({
      config,
      serverName: options.serverName,
      database,
      bus,
      manager: this.manager,
      metrics,
      backgroundJobs,
      onNotice: (notice) => this.cluster.source.onNotice(notice),
      runtime,
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
      candidate: () => this.delivery.candidate,
      leaderName: () => this.delivery.leaderName,
    });
    this.app = createWorkerHttp({
      config,
      demoPath: path,
      signIn: authenticate === undefined,
      database,
      bus,
      manager: this.manager,
      takeOver,
      authenticator,
      accounts,
      idCodec,
      limits,
      status: this.status,
      cluster: this.cluster,
      backgroundJobs,
      runtime,
    });
    this.listener = new WorkerListener(this.app, config, options.supervised);
  }

  /** The listen address, as a URL or a socket path. */
  get address(): string {
    return this.listener.address;
  }

  /** Handles a request of another program's server. */
  handle(request: IncomingMessage, response: ServerResponse): void {
    this.app.server.emit('request', request, response);
  }

  get leading(): boolean {
    return this.delivery.candidate?.leadership.leading ?? false;
  }

  /** Why publishing is delayed while this worker leads; otherwise undefined. */
  get monitorProblem(): string | undefined {
    return this.delivery.candidate?.monitor.problem();
  }

  /** Resolves when the worker is ready. @throws LightconeError if waiting does not help (address in use, schema) */
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
      logger.info('demo data not added: the database already has users');
    }
    this.prepared = true;
    if (config.sse.enabled) await this.delivery.start(this.releasers, signal);
    else await this.delivery.startBackgroundJobs(this.releasers);
    if (supervised) await this.listen();
    this.releasers.throwIfReleased();
    const address = mounted ? `mounted at ${config.http.prefix}` : this.address;
    logger.info({ address, serverName: this.options.serverName }, 'ready');
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
    this.releasers.add('http', () => this.listener.close());
    await this.listener.listen();
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
      candidate: () => this.delivery.candidate,
      leaderName: () => this.delivery.leaderName,
      installation: () => this.installation,
    });
  }

  /** Stops gracefully, within `drain_timeout`. */
  stop(): Promise<void> {
    this.stopping ??= this.end();
    return this.stopping;
  }

  private async end(): Promise<void> {
    const { config, supervised, runtime } = this.options;
    const { logger } = runtime;
    // From now on `/readyz` answers 503 and new streams end at once.
    const drained = this.manager.drain(config.sse.drainTimeoutSeconds * 1000 * 0.8);
    const handedOver = supervised && this.listener.listening;
    if (handedOver) this.listener.handOver();
    await this.delivery.candidate?.leadership.stop();
    await drained;
    if (handedOver) await sleep(LAST_REQUEST_MS);
    await this.cluster.announcer.stop();
    await this.releasers.release((name, error) =>
      logger.warn({ component: name, err: error }, 'component did not stop cleanly'),
    );
  }
}
