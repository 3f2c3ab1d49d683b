import { Command } from 'commander';
import { refuseKnownSecret } from '../config/known-secret.js';
import { isLoopback } from '../config/listen.js';
import { LightconeError } from '../core/errors.js';
import { boundYoungGeneration } from '../node-internals/young-generation.js';
import { prepare, withSettingFlags } from './setting-flags.js';

export function createServeCommand(): Command {
  return withSettingFlags(
    new Command('serve').option(
      '--demo',
      'fill an empty database with demo data; only on a loopback address',
    ),
    (key) => key !== 'monitor_metrics_listen',
  )
    .description('Serve the stream (and, unless a standalone monitor runs, watch for changes)')
    .action(async (_, command: Command) => {
      const { config, logger } = await prepare(command);
      if (config.sse.nodeInternals) boundYoungGeneration();
      const demo = command.opts<{ demo?: true }>().demo === true;
      if (demo) checkDemo(config);
      refuseKnownSecret(config.auth.idSecret, isLoopback(config.http.listen));
      // Each is loaded only when it is what runs: one worker needs no supervisor.
      if (config.sse.workers > 1) {
        const { supervise } = await import('../app/processes/supervisor.js');
        await supervise(config, { demo, logger });
      } else {
        const { serve } = await import('../app/commands/serve.js');
        await serve(config, { demo, logger });
      }
    });
}

/** The demo's keys are in the documentation: nobody else may reach them, and no Galaxy may get its data. */
function checkDemo({ http, sse }: Awaited<ReturnType<typeof prepare>>['config']): void {
  if (!isLoopback(http.listen)) {
    throw new LightconeError(
      'CONFIG_INVALID',
      '--demo: its API keys are known to everybody, so it is refused on an address that others reach; listen on 127.0.0.1, or leave --demo out',
    );
  }
  if (sse.attachToGalaxy) {
    throw new LightconeError(
      'CONFIG_INVALID',
      '--demo: is refused beside a Galaxy (attach_to_galaxy), whose data it would mix with its own',
    );
  }
}
