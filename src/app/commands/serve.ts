/** `lightcone serve`: one worker from start to signal. */
import type { Config } from '../../config/config.js';
import { systemClock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import { answerSupervisor } from '../processes/report-channel.js';
import { serverNameOf } from '../processes/server-name.js';
import { runUntilStopped } from '../processes/until-stopped.js';
import { Worker } from '../processes/worker.js';
import { demoBanner } from './demo-banner.js';

export interface ServeOptions {
  demo: boolean;
  logger: Logger;
  /** The number of this worker, from the supervisor. */
  workerNumber?: number;
}

/** Resolves after a graceful stop. */
export async function serve(config: Config, options: ServeOptions): Promise<void> {
  const { demo, workerNumber } = options;
  const supervised = workerNumber !== undefined;
  const serverName = serverNameOf(config, workerNumber);
  // Several workers may write to one log.
  const logger = options.logger.child({ server: serverName });
  const worker = await Worker.create({
    config,
    serverName,
    demo,
    supervised,
    runtime: { logger, clock: systemClock, random: Math.random },
  });
  if (supervised) answerSupervisor(() => worker.report());
  await runUntilStopped(worker, {
    logger,
    supervised,
    stopWithinMs: config.sse.drainTimeoutSeconds * 1000,
    onStarted: () => {
      process.send?.({ lightcone: 'ready' });
      if (demo) process.stdout.write(demoBanner(config, worker.address));
    },
  });
}
