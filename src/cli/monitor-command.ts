import { Command } from 'commander';
import { LightconeError } from '../core/errors.js';
import { boundYoungGeneration } from '../node-internals/young-generation.js';
import { prepare, withSettingFlags } from './setting-flags.js';

/** The settings that a monitor uses. Other keys of `sse:` in the settings file are for the workers. */
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
    .description('Run the standalone monitor, which takes the role of the history monitor from the workers')
    .action(async (_, command: Command) => {
      const { config, logger } = await prepare(command);
      if (config.sse.nodeInternals) boundYoungGeneration();
      if (config.bus.kind === 'in-process') {
        throw new LightconeError(
          'CONFIG_INVALID',
          'amqp_internal_connection: is not set, but a standalone monitor reaches the workers only through RabbitMQ; set it, or run `lightcone serve` alone, which contains a monitor',
        );
      }
      const { runMonitor } = await import('../app/processes/standalone-monitor.js');
      await runMonitor(config, { logger });
    });
}
