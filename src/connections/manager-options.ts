/** The dependencies of the connection manager, which `app/` creates. */
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
  /** Positions that the leader stored before this worker started. */
  positions: Pick<PositionStore, 'entries'>;
  /** Undefined if the notification system is off. */
  notifications: NotificationLog | undefined;
  /**
   * The same, for reconnecting tabs: however many they are and however old their cursors, nothing else waits for them.
   */
  returning: Pick<ConnectionManagerOptions, 'changeLog' | 'notifications'>;
  permissions: PermissionSource;
  /** Whether the bus is connected. While it is not, the worker cannot know what it misses. */
  subscribed: () => boolean;
  encodeId: (id: HistoryId) => string;
  decodeId: (text: string) => HistoryId | undefined;
  clock: Clock;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
  createDirectWrites?: CreateDirectWrites | undefined;
}
