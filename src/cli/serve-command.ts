import { Command } from 'commander';
import { refuseKnownSecret } from '../config/known-secret.js';
import { isLoopback } from '../config/listen.js';
import { LightconeError } from '../core/errors.js';
import { boundYoungGeneration } from '../node-internals/young-generation.js';
import { warnOfFileLimit } from './file-limit.js';
import { prepare, withSettingFlags } from './setting-flags.js';

export function createServeCommand(): Command {
  return withSettingFlags(
    new Command('serve').option(
      '--demo',
      'fill an empty database with demo data; allowed on a loopback address only',
    ),
    (key) => key !== 'monitor_metrics_listen',
  )
    .description('Serve the stream; also monitor changes unless a standalone monitor runs')
    .action(async (_, command: Command) => {
      const { config, logger } = await prepare(command);
      if (config.sse.nodeInternals) boundYoungGeneration();
      const demo = command.opts<{ demo?: true }>().demo === true;
      if (demo) checkDemo(config);
      else warnOfFileLimit(config.sse.maxConnections, logger);
      refuseKnownSecret(config.auth.idSecret, isLoopback(config.http.listen));
      // One worker needs no supervisor, so only one of the two modules is loaded.
      if (config.sse.workers > 1) {
        const { supervise } = await import('../app/processes/supervisor.js');
        await supervise(config, { demo, logger });
      } else {
        const { serve } = await import('../app/commands/serve.js');
        await serve(config, { demo, logger });
      }
    });
}

/** The documentation contains the demo's keys, so only this machine may reach them, and no Galaxy may get the demo's data. */
function checkDemo({ http, sse }: Awaited<ReturnType<typeof prepare>>['config']): void {
  if (!isLoopback(http.listen)) {
    throw new LightconeError(
      'CONFIG_INVALID',
      '--demo: its API keys are public, so it needs an address that only this machine can reach; listen on 127.0.0.1, or leave --demo out',
    );
  }
  if (sse.attachToGalaxy) {
    throw new LightconeError(
      'CONFIG_INVALID',
      '--demo: would mix its data with those of a Galaxy; remove --demo or attach_to_galaxy',
    );
  }
}
