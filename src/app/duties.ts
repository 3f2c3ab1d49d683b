/**
 * What a process does for the standalone API besides answering requests: it announces what was committed, and as the leader
 * it looks after what others left behind and keeps house. The same in a worker and in a standalone monitor.
 */
import { randomBytes } from 'node:crypto';
import type { Bus } from '../bus/port.js';
import type { Config } from '../config/config.js';
import type { Lifecycle } from '../core/lifecycle.js';
import { SqlNotificationLog } from '../database/notification-log.js';
import type { Role } from '../election/leadership.js';
import { Roles } from '../election/roles.js';
import type { IdCodec } from '../http/id-codec.js';
import { type Announcer, silentAnnouncer } from '../resources/outbox/announcer.js';
import { Courier } from '../resources/outbox/courier.js';
import { Outbox } from '../resources/outbox/outbox.js';
import type { Surroundings, WatchedDatabase } from './parts.js';

export interface DutyParts {
  config: Config;
  database: WatchedDatabase;
  bus: Bus;
  idCodec: IdCodec;
  surroundings: Surroundings;
}

export class Duties implements Lifecycle {
  readonly announcer: Announcer;
  /** To be held by the leader, beside the monitor. */
  readonly role: Role;
  private readonly courier: Courier | undefined;

  constructor({ config, database, bus, idCodec, surroundings }: DutyParts) {
    const { logger, random } = surroundings;
    if (config.sse.enabled) {
      this.courier = new Courier({
        outbox: new Outbox(database, randomBytes(12).toString('hex')),
        bus,
        notifications: new SqlNotificationLog(database, (id) => idCodec.encodeId(id)),
        logger: logger.child({ component: 'outbox' }),
        random,
      });
    }
    this.announcer = this.courier ?? silentAnnouncer;
    this.role = new Roles(this.courier ? [this.courier] : []);
  }

  /** After the database and the bus. */
  async start(): Promise<void> {
    this.courier?.start();
  }

  /** Before the bus and the database. */
  async stop(): Promise<void> {
    await this.courier?.stop();
  }
}
