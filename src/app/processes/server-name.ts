import type { Config } from '../../config/config.js';

/**
 * Processes that share a database need different names: the supervisor numbers its workers, others append their pid.
 */
export function serverNameOf(config: Config, workerNumber?: number): string {
  if (workerNumber !== undefined) return `${config.serverName}.${workerNumber}`;
  return config.bus.kind === 'amqp' ? `${config.serverName}.${process.pid}` : config.serverName;
}
