import { Command } from 'commander';
import { LightconeError } from '../core/errors.js';
import { boundYoungGeneration } from '../node-internals/young-generation.js';
import { prepare, withSettingFlags } from './setting-flags.js';

/** It serves nobody. What else stands in `sse:` of the settings file is for the workers, and no mistake. */
const FLAGS: readonly string[] = [
  'monitor_metrics_listen',
  'attach_to_galaxy',
  'debounce',
  'heartbeat_interval',
  'drain_timeout',
  'node_internals',
  'log_level',
];

export function createMonitorCommand(name: string): Command {
  return withSettingFlags(new Command(name).exitOverride(), (key) => FLAGS.includes(key))
    .description('Run the standalone monitor: it takes the role of the history monitor from the workers')
    .action(async (_, command: Command) => {
      const { config, logger } = await prepare(command);
      if (config.sse.nodeInternals) boundYoungGeneration();
      if (config.bus.kind === 'in-process') {
        throw new LightconeError(
          'CONFIG_INVALID',
          'amqp_internal_connection: a monitor of its own reaches the workers through RabbitMQ only; set it, or run `lightcone serve` alone, which is its own monitor',
        );
      }
      const { runMonitor } = await import('../app/processes/standalone-monitor.js');
      await runMonitor(config, { logger });
    });
}
