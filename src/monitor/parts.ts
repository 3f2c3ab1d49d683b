/** What the monitor is made of; `app/` puts it together. */
import type { Publisher } from '../bus/port.js';
import type { ChangeLog, HintListener, HintSource, PositionStore } from '../database/port.js';
import type { Clock } from '../lib/clock.js';
import type { Logger } from '../telemetry/logger.js';
import type { Metrics } from '../telemetry/metrics.js';

export interface MonitorOptions {
  changeLog: ChangeLog;
  positions: PositionStore;
  bus: Publisher;
  /** A fresh hint source; it is started and stopped with the role. */
  createHintSource: (listener: HintListener) => HintSource;
  /** Name of this process's ticks: server name and start. Each term adds its number. */
  leaderName: string;
  debounceMs: number;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}
