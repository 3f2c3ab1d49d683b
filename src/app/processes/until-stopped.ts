/** Runs a process from its start to its signal. */
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';

/**
 * Starts `service`, waits for SIGTERM or SIGINT (also while it is still starting), and stops it. A second signal, or a
 * stop that takes longer than `stopWithinMs`, ends the process at once.
 *
 * @param options.supervised a signal for all processes of a unit or a terminal reaches a worker twice: by itself, and by its
 *   supervisor. The supervisor decides what a second one and SIGHUP mean.
 */
export async function runUntilStopped(
  service: Lifecycle,
  options: { logger: Logger; stopWithinMs: number; supervised?: boolean; onStarted?: () => void },
): Promise<void> {
  const { logger, stopWithinMs, supervised = false, onStarted } = options;
  const stopping = new AbortController();
  const signalled = new Promise<string>((resolve) => {
    const onSignal = (name: string): void => {
      if (stopping.signal.aborted) {
        if (supervised) return;
        logger.warn({ signal: name }, 'second signal: exiting now');
        process.exit(1);
      }
      stopping.abort(new Error(`stopped by ${name}`));
      resolve(name);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
    process.on('SIGHUP', (name) => {
      if (supervised) return;
      // A terminal that closes ends its programs. From a service manager the signal means "reload", which needs a
      // supervisor.
      if (process.stdout.isTTY) onSignal(name);
      else
        logger.warn(
          'SIGHUP ignored: only `serve --workers N` can replace its workers; restart this process instead',
        );
    });
  });
  try {
    await service.start(stopping.signal);
    onStarted?.();
  } catch (error) {
    await service.stop();
    if (!stopping.signal.aborted) throw error;
  }
  logger.info({ signal: await signalled }, 'stopping');
  const limit = setTimeout(() => {
    logger.error({ stopWithinMs }, 'shutdown exceeded drain_timeout: exiting now');
    process.exit(1);
  }, stopWithinMs);
  await service.stop();
  clearTimeout(limit);
  logger.info('stopped');
}
