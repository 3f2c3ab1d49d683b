/** The standalone monitor: monitors and publishes, but serves no streams. It precedes every worker in the election. */
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';
import { GAUGES, type Gauges } from '../../core/notices.js';
import type { Database } from '../../database/port.js';
import { noPositionStore, SqlPositionStore } from '../../database/position-store.js';
import { migrateAttached } from '../../database/schema.js';
import { IdCodec } from '../../http/auth/id-codec.js';
import { systemClock } from '../../lib/clock.js';
import { type Lifecycle, Releasers } from '../../lib/lifecycle.js';
import type { CountingMetrics } from '../../telemetry/counting-metrics.js';
import type { Logger } from '../../telemetry/logger.js';
import { Announcer } from '../cluster/announcer.js';
import { createBackgroundJobs } from '../wiring/background-jobs.js';
import { type Candidate, createCandidate } from '../wiring/candidate.js';
import {
  chooseHintSource,
  createBus,
  createDatabase,
  createMetrics,
  identityOf,
  MONITOR_CONNECTIONS,
  prepareSchema,
  type RuntimeContext,
  thisHost,
} from '../wiring/infrastructure.js';
import { watchForOtherMonitors } from '../wiring/other-monitors.js';
import { MetricsServer, type ProcessReport } from './metrics-server.js';
import { runUntilStopped } from './until-stopped.js';

/** A monitor has no streams. */
const NO_GAUGES = Object.fromEntries(GAUGES.map((name) => [name, null])) as Gauges;

export async function runMonitor(config: Config, { logger }: { logger: Logger }): Promise<void> {
  if (!config.sse.enabled) {
    throw new LightconeError(
      'CONFIG_INVALID',
      'enable_sse_updates is false, so a monitor has nothing to do; set it to true, or do not start the monitor',
    );
  }
  const serverName = `sse_monitor.${thisHost()}.${process.pid}`;
  const named = logger.child({ server: serverName });
  const runtime = { logger: named, clock: systemClock, random: Math.random };
  await runUntilStopped(new StandaloneMonitor(config, serverName, runtime), {
    logger: named,
    stopWithinMs: config.sse.drainTimeoutSeconds * 1000,
  });
}

export class StandaloneMonitor implements Lifecycle {
  private readonly releasers = new Releasers();
  private metrics: CountingMetrics | undefined;
  private database: Database | undefined;
  private bus: Bus | undefined;
  private candidate: Candidate | undefined;
  private started = false;

  constructor(
    private readonly config: Config,
    private readonly serverName: string,
    private readonly runtime: RuntimeContext,
  ) {}

  async start(signal?: AbortSignal): Promise<void> {
    const { config, runtime, releasers, serverName } = this;
    const { logger } = runtime;
    const { metrics, close } = await createMetrics(config, runtime);
    releasers.add('metrics', close);
    this.metrics = metrics;
    await this.listenForMetrics();
    const database = await createDatabase(config.database, runtime);
    this.database = database;
    releasers.add('database', () => database.stop());
    await database.start(signal);
    await prepareSchema(database, config.sse.attachToGalaxy, logger);
    const bus = await createBus(config, serverName, metrics, runtime);
    this.bus = bus;
    releasers.add('bus', () => bus.stop());
    await bus.start(signal);
    const idCodec = new IdCodec(config.auth.idSecret);
    const backgroundJobs = config.sse.attachToGalaxy
      ? undefined
      : await createBackgroundJobs({ config, database, bus, idCodec, runtime });
    releasers.add('background jobs', () => backgroundJobs?.stop());
    await backgroundJobs?.start();
    const positions =
      !config.sse.attachToGalaxy || (await migrateAttached(database, logger))
        ? new SqlPositionStore(database)
        : noPositionStore;
    const monitorDatabase = database.lane('monitor', MONITOR_CONNECTIONS);
    const createHintSource = await chooseHintSource(monitorDatabase, config.sse.pollIntervalSeconds, logger);
    this.candidate = createCandidate(
      {
        serverName,
        appType: 'sse_monitor',
        config: config.sse,
        database: monitorDatabase,
        positions,
        createHintSource,
        bus,
        metrics,
        backgroundJobs: backgroundJobs?.role,
      },
      runtime,
    );
    const { leadership } = this.candidate;
    releasers.add('election', () => leadership.stop());
    await leadership.start();
    await this.announce(bus, metrics);
    if (config.sse.attachToGalaxy) {
      const end = watchForOtherMonitors(database, () => leadership.leading, runtime);
      releasers.add('look for other monitors', end);
    }
    releasers.throwIfReleased();
    this.started = true;
    logger.info('monitor started');
  }

  /** For `monitor_metrics_listen`. */
  report(): ProcessReport {
    const { database, bus, candidate, started } = this;
    const behind = candidate?.monitor.problem();
    const problems = [
      started ? undefined : 'this monitor is starting',
      database?.problem(),
      bus?.problem(),
      candidate?.electionProblem(),
      behind && `it is behind (${behind}): it reads the changes since its cursor as soon as it can`,
    ].filter((problem) => problem !== undefined);
    return { process: this.serverName, totals: this.metrics?.totals() ?? [], ready: started, problems };
  }

  /** For the status page of the workers. */
  private async announce(bus: Bus, metrics: CountingMetrics): Promise<void> {
    const { config, serverName, releasers } = this;
    const { clock } = this.runtime;
    const announcer = new Announcer({
      process: identityOf(config, serverName, 'monitor'),
      bus,
      metrics,
      clock,
      state: () => {
        const { ready, problems } = this.report();
        const leads = this.candidate?.leadership.leading === true;
        const cursor_age_ms = (leads ? this.candidate?.monitor.cursorAgeMs : undefined) ?? null;
        return { ready, problems, leads, leader: null, gauges: { ...NO_GAUGES, cursor_age_ms } };
      },
    });
    releasers.add('announcer', () => announcer.stop());
    await announcer.start();
  }

  private async listenForMetrics(): Promise<void> {
    const { monitorMetricsListen } = this.config;
    if (!monitorMetricsListen) return;
    const server = new MetricsServer(monitorMetricsListen, '--monitor-metrics-listen', async () => [
      this.report(),
    ]);
    this.releasers.add('metrics server', () => server.stop());
    await server.start();
  }

  async stop(): Promise<void> {
    await this.releasers.release((name, error) =>
      this.runtime.logger.warn({ component: name, err: error }, 'component did not stop cleanly'),
    );
  }
}
