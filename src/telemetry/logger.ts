import { type DestinationStream, type Logger, pino } from 'pino';
import type { LogLevel } from '../config/config.js';

export type { Logger } from 'pino';

/**
 * One JSON line per message on standard error: standard output belongs to what a command was asked to print.
 * Each component takes a child (`logger.child({ component: 'monitor' })`).
 */
export function createLogger(
  level: LogLevel,
  bindings: Record<string, unknown> = {},
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
): Logger {
  return pino({ level, base: bindings, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}
