/**
 * What a process does for the standalone API besides answering requests: it announces what was committed, and as the leader
 * it looks after what others left behind and keeps house. The same in a worker and in a standalone monitor.
 */
import { randomBytes } from 'node:crypto';
import type { Bus } from '../bus/port.js';
import type { Config } from '../config/config.js';
import type { Lifecycle } from '../core/lifecycle.js';
import { MICROS_PER_SECOND } from '../core/time.js';
import { SqlNotificationLog } from '../database/notification-log.js';
import { Roles } from '../election/roles.js';
import type { Role } from '../election/tenure.js';
import { MARGIN } from '../events/kind.js';
import type { IdCodec } from '../http/id-codec.js';
import {
  pruneAudit,
  removeDeadProcesses,
  removeExpiredNotifications,
} from '../resources/housekeeping/chores.js';
import { type Chore, Housekeeper } from '../resources/housekeeping/housekeeper.js';
import { type Announcer, silentAnnouncer } from '../resources/outbox/announcer.js';
import { Courier } from '../resources/outbox/courier.js';
import { Outbox } from '../resources/outbox/outbox.js';
import type { Surroundings, WatchedDatabase } from './parts.js';
import { createSessionMap, type MapChoice } from './session-map.js';

const DEAD_PROCESS_SWEEP_SECONDS = 600;
const MAP_RECONCILE_SECONDS = 300;

export interface DutyParts {
  config: Config;
  database: WatchedDatabase;
  bus: Bus;
  idCodec: IdCodec;
  surroundings: Surroundings;
}

export async function createDuties(parts: DutyParts): Promise<Duties> {
  const { config, database, idCodec, surroundings } = parts;
  return new Duties(parts, await createSessionMap(config, database, idCodec, surroundings));
}

export interface LeaderDuties extends Role {
  /** Another connection to the database has committed something. */
  onCommit(): void;
}

export class Duties implements Lifecycle {
  readonly announcer: Announcer;
  /** To be held by the leader, beside the monitor. */
  readonly role: LeaderDuties;
  private readonly courier: Courier | undefined;
  private readonly housekeeper: Housekeeper;

  constructor(
    private readonly parts: DutyParts,
    readonly sessionMap: MapChoice,
  ) {
    const { config, database, bus, idCodec, surroundings } = parts;
    const { logger, random } = surroundings;
    this.housekeeper = new Housekeeper(this.chores(), logger.child({ component: 'housekeeping' }));
    if (config.sse.enabled) {
      this.courier = new Courier({
        outbox: new Outbox(database, randomBytes(12).toString('hex')),
        bus,
        notifications: new SqlNotificationLog(database, (id) => idCodec.encodeId(id)),
        encodeId: (id) => idCodec.encodeId(id),
        logger: logger.child({ component: 'outbox' }),
        random,
      });
    }
    this.announcer = this.courier ?? silentAnnouncer;
    const roles = new Roles(this.courier ? [this.courier, this.housekeeper] : [this.housekeeper]);
    this.role = {
      gain: () => roles.gain(),
      lose: (reason) => roles.lose(reason),
      onCommit: () => void this.courier?.look(),
    };
  }

  /** After the database and the bus. */
  async start(signal?: AbortSignal): Promise<void> {
    await this.sessionMap.map.start(signal);
    this.courier?.start();
    // Without live updates nobody is elected; what keeps house does no harm twice.
    if (!this.parts.config.sse.enabled) await this.housekeeper.gain();
  }

  /** Before the bus and the database. */
  async stop(): Promise<void> {
    await this.housekeeper.stop();
    await this.courier?.stop();
    await this.sessionMap.map.stop();
  }

  private chores(): Chore[] {
    const { config, database } = this.parts;
    const { auditPruneSeconds, expiredNotificationsSeconds } = config.housekeeping;
    const keepSeconds = config.sse.recentWindowSeconds + MARGIN / MICROS_PER_SECOND;
    const chores: Chore[] = [
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
    return chores.filter(({ everySeconds }) => everySeconds > 0);
  }
}
