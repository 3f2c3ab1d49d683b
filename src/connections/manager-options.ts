/** What the connection manager is made of; `app/` puts it together. */
import type { SseConfig } from '../config/config.js';
import type { HistoryId } from '../core/events.js';
import type { ChangeLog, NotificationLog, PositionStore } from '../database/port.js';
import type { EventRegistry } from '../events/registry.js';
import type { Clock } from '../lib/clock.js';
import type { CreateDirectWrites } from '../node-internals/direct-writes.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { PermissionSource } from './tabs/permissions.js';

export interface ConnectionManagerOptions {
  kinds: EventRegistry;
  config: SseConfig;
  changeLog: ChangeLog;
  /** What the leader stored before this worker came. */
  positions: Pick<PositionStore, 'entries'>;
  /** Undefined where the notification system is off. */
  notifications: NotificationLog | undefined;
  /** The same, for tabs that come back: however many they are and however old their cursors, nothing else waits for them. */
  returning: Pick<ConnectionManagerOptions, 'changeLog' | 'notifications'>;
  permissions: PermissionSource;
  /** Whether the bus is connected: while it is not, nothing can be said about what was missed. */
  subscribed: () => boolean;
  encodeId: (id: HistoryId) => string;
  decodeId: (text: string) => HistoryId | undefined;
  clock: Clock;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
  createDirectWrites?: CreateDirectWrites | undefined;
}
