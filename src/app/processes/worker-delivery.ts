/** The delivery of a worker: from the bus to its tabs, and its candidacy for the monitor's role. */
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import type { ConnectionManager } from '../../connections/manager.js';
import type { Notice } from '../../core/notices.js';
import type { Releasers } from '../../lib/lifecycle.js';
import type { CountingMetrics } from '../../telemetry/counting-metrics.js';
import type { BackgroundJobs } from '../wiring/background-jobs.js';
import { type Candidate, createCandidate } from '../wiring/candidate.js';
import { startConnectionGauges } from '../wiring/connection-gauges.js';
import {
  chooseHintSource,
  MONITOR_CONNECTIONS,
  type RuntimeContext,
  type WatchedDatabase,
} from '../wiring/infrastructure.js';

interface WorkerDeliveryOptions {
  config: Config;
  serverName: string;
  database: WatchedDatabase;
  bus: Bus;
  manager: ConnectionManager;
  metrics: CountingMetrics;
  /** Undefined beside a Galaxy, which serves its own API. */
  backgroundJobs: BackgroundJobs | undefined;
  onNotice: (notice: Notice) => void;
  runtime: RuntimeContext;
}

export class WorkerDelivery {
  /** Undefined before the start, and beside a Galaxy. */
  candidate: Candidate | undefined;
  /** The leader whose ticks arrive. */
  leaderName: string | undefined;

  constructor(private readonly options: WorkerDeliveryOptions) {}

  /** @param releasers receives what a stop must release, even of a start that fails */
  async start(releasers: Releasers, signal: AbortSignal | undefined): Promise<void> {
    const { config, serverName, bus, manager, metrics } = this.options;
    this.subscribe();
    releasers.add('bus', () => bus.stop());
    await bus.start(signal);
    releasers.add('connections', () => manager.stop());
    await manager.start(signal);
    releasers.add('gauges', startConnectionGauges(config, serverName, manager.registry, metrics));
    if (config.sse.attachToGalaxy) return;
    await this.startBackgroundJobs(releasers);
    await this.startCandidate(releasers);
  }

  async startBackgroundJobs(releasers: Releasers): Promise<void> {
    const { backgroundJobs } = this.options;
    if (!backgroundJobs) return;
    releasers.add('background jobs', () => backgroundJobs.stop());
    await backgroundJobs.start();
  }

  private subscribe(): void {
    const { bus, manager, onNotice } = this.options;
    bus.subscribe({
      onTask: (task) => {
        if (task.task === 'reconfigure_watcher') this.candidate?.leadership.electNow();
        manager.onTask(task);
      },
      onTick: (tick) => {
        this.leaderName = tick.leader;
        manager.onTick(tick);
      },
      onGap: (cause) => manager.onGap(cause),
      onNotice,
    });
  }

  private async startCandidate(releasers: Releasers): Promise<void> {
    const { config, serverName, database, bus, metrics, backgroundJobs, runtime } = this.options;
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
        backgroundJobs: backgroundJobs?.role,
      },
      runtime,
    );
    const { leadership } = this.candidate;
    releasers.add('election', () => leadership.stop());
    await leadership.start();
  }
}
