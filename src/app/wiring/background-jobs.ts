/**
 * Background work for the standalone API: every process publishes its outbox entries; the leader also publishes what other
 * processes left behind, and runs the maintenance jobs. The same in a worker and in a standalone monitor.
 */

import { randomBytes } from 'node:crypto';
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import { SqlNotificationLog } from '../../database/notification-log.js';
import { CompositeRole } from '../../election/composite-role.js';
import type { Role } from '../../election/tenure.js';
import { MARGIN } from '../../events/kind.js';
import type { IdCodec } from '../../http/auth/id-codec.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import { MICROS_PER_SECOND } from '../../lib/time.js';
import { pruneAudit, removeDeadProcesses, removeExpiredNotifications } from '../../maintenance/jobs.js';
import { type MaintenanceJob, MaintenanceScheduler } from '../../maintenance/scheduler.js';
import { Outbox } from '../../outbox/outbox.js';
import { OutboxPublisher } from '../../outbox/publisher.js';
import { noOutbox, type OutboxWriter } from '../../outbox/writer.js';
import type { RuntimeContext, WatchedDatabase } from './infrastructure.js';
import { createSessionMap, type SessionMapSetup } from './session-map.js';

const DEAD_PROCESS_SWEEP_SECONDS = 600;
const MAP_RECONCILE_SECONDS = 300;

export interface BackgroundJobsOptions {
  config: Config;
  database: WatchedDatabase;
  bus: Bus;
  idCodec: IdCodec;
  runtime: RuntimeContext;
}

export async function createBackgroundJobs(options: BackgroundJobsOptions): Promise<BackgroundJobs> {
  const { config, database, idCodec, runtime } = options;
  return new BackgroundJobs(options, await createSessionMap(config, database, idCodec, runtime));
}

export interface LeaderJobs extends Role {
  /** Another connection to the database has committed something. */
  onCommit(): void;
}

export class BackgroundJobs implements Lifecycle {
  readonly outboxWriter: OutboxWriter;
  /** The leader holds it beside the monitor. */
  readonly role: LeaderJobs;
  private readonly outboxPublisher: OutboxPublisher | undefined;
  private readonly maintenanceScheduler: MaintenanceScheduler;
  private stopped = false;

  constructor(
    private readonly options: BackgroundJobsOptions,
    readonly sessionMap: SessionMapSetup,
  ) {
    const { config, database, bus, idCodec, runtime } = options;
    const { logger, random } = runtime;
    this.maintenanceScheduler = new MaintenanceScheduler(
      this.jobs(),
      logger.child({ component: 'housekeeping' }),
    );
    if (config.sse.enabled) {
      this.outboxPublisher = new OutboxPublisher({
        outbox: new Outbox(database, randomBytes(12).toString('hex')),
        bus,
        notifications: new SqlNotificationLog(database, (id) => idCodec.encodeId(id)),
        encodeId: (id) => idCodec.encodeId(id),
        logger: logger.child({ component: 'outbox' }),
        random,
      });
    }
    this.outboxWriter = this.outboxPublisher ?? noOutbox;
    const roles = new CompositeRole(
      this.outboxPublisher ? [this.outboxPublisher, this.maintenanceScheduler] : [this.maintenanceScheduler],
    );
    this.role = {
      gain: () => roles.gain(),
      lose: (reason) => roles.lose(reason),
      onCommit: () => void this.outboxPublisher?.look(),
    };
  }

  /** Call it after the start of database and bus. */
  async start(signal?: AbortSignal): Promise<void> {
    await this.sessionMap.map.start(signal);
    if (this.stopped) return;
    this.outboxPublisher?.start();
    // Without live updates there is no election; maintenance jobs may run in several processes.
    if (!this.options.config.sse.enabled) await this.maintenanceScheduler.gain();
  }

  /** Call it before the stop of bus and database. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.maintenanceScheduler.stop();
    await this.outboxPublisher?.stop();
    await this.sessionMap.map.stop();
  }

  private jobs(): MaintenanceJob[] {
    const { config, database } = this.options;
    const { auditPruneSeconds, expiredNotificationsSeconds } = config.housekeeping;
    const keepSeconds = config.sse.recentWindowSeconds + MARGIN / MICROS_PER_SECOND;
    const jobs: MaintenanceJob[] = [
      {
        name: 'audit rows',
        everySeconds: auditPruneSeconds,
        run: (over) => pruneAudit(database, keepSeconds, over),
      },
      {
        name: 'expired notifications',
        everySeconds: expiredNotificationsSeconds,
        run: (over) => removeExpiredNotifications(database, over),
      },
      {
        name: 'dead processes',
        everySeconds: DEAD_PROCESS_SWEEP_SECONDS,
        run: () => removeDeadProcesses(database),
      },
      {
        name: 'session map',
        everySeconds: config.features.interactiveTools ? MAP_RECONCILE_SECONDS : 0,
        run: () => this.sessionMap.map.reconcile(),
      },
    ];
    return jobs.filter(({ everySeconds }) => everySeconds > 0);
  }
}
