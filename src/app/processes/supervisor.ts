/**
 * Several workers on one listening socket. The supervisor forks them, replaces those that die, and does nothing per
 * connection or event: the workers accept from the shared socket themselves (node:cluster without its scheduling).
 *
 * SIGHUP replaces the workers one by one, each new one listening before its predecessor drains, so that the socket is
 * never closed. SIGTERM and SIGINT stop all.
 */
import cluster, { type Worker as Child } from 'node:cluster';
import type { Config } from '../../config/config.js';
import { EXIT } from '../../core/exit-codes.js';
import { Backoff } from '../../lib/backoff.js';
import { sleep } from '../../lib/lifecycle.js';
import type { Logger } from '../../telemetry/logger.js';
import { MetricsServer } from './metrics-server.js';
import { askWorkers } from './report-channel.js';
import { removeStaleSocket } from './stale-socket.js';

/** A worker that lived this long is replaced at once; otherwise with back-off. */
const SETTLED_MS = 10_000;

export async function supervise(config: Config, options: { demo: boolean; logger: Logger }): Promise<void> {
  if (cluster.isWorker) {
    const { serve } = await import('../commands/serve.js');
    const number = cluster.worker!.id;
    // The channel to the supervisor must not keep the process alive. It stays open: node:cluster ends a worker that
    // disconnects with 0, whatever its result.
    process.channel?.unref();
    await serve(config, { ...options, demo: options.demo && number === 1, workerNumber: number });
    return;
  }
  await new Supervisor(config, options.logger).run();
}

const GIVEN_UP: Readonly<Record<number, string>> = {
  [EXIT.invalidUsage]: 'a worker refused its settings',
  [EXIT.notNow]: 'the address is not available now',
};

class Supervisor {
  private readonly children = new Set<Child>();
  private readonly leaving = new Set<Child>();
  private readonly backoff = new Backoff(100, 5000);
  /** The worker of a rolling restart that is not ready yet. */
  private successor: Child | undefined;
  private stopping = false;
  /** Some worker has been ready. */
  private served = false;
  private rolling: Promise<void> = Promise.resolve();

  constructor(
    private readonly config: Config,
    private readonly logger: Logger,
  ) {}

  async run(): Promise<void> {
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    const stopped = new Promise<void>((resolve) => {
      const onSignal = (signal: NodeJS.Signals): void => {
        if (this.stopping) {
          for (const child of this.children) child.process.kill('SIGKILL');
          process.exit(1);
        }
        this.stopAll(signal);
        if (this.children.size === 0) resolve();
      };
      process.on('SIGTERM', onSignal);
      process.on('SIGINT', onSignal);
      cluster.on('exit', (child, code, signal) => {
        this.children.delete(child);
        // A successor that cannot start ends only the rolling restart.
        if (child === this.successor && !this.stopping) {
          this.topUp();
          return;
        }
        const cause = GIVEN_UP[code];
        // After a worker has served, a failing worker is no failed start: it is replaced.
        if (cause !== undefined && !this.stopping && !this.served) {
          // The worker has reported the reason, and a restart would fail in the same way.
          process.exitCode = code;
          this.stopAll(cause);
        }
        if (this.stopping) {
          if (this.children.size === 0) resolve();
        } else if (this.leaving.delete(child)) {
          this.topUp();
        } else {
          void this.replace(child, code, signal);
        }
      });
    });
    process.on('SIGHUP', () => {
      this.rolling = this.rolling.then(() => this.roll());
    });
    const { listen } = this.config.http;
    if (listen.kind === 'unix') await removeStaleSocket(listen.path);
    const metrics = this.createMetricsServer();
    await metrics?.start();
    this.topUp();
    await stopped;
    await metrics?.stop();
    this.logger.info('all workers stopped');
  }

  /** Reports of the serving workers, not of one that leaves or one that is not ready yet. */
  private createMetricsServer(): MetricsServer | undefined {
    const { metricsListen } = this.config;
    if (!metricsListen) return undefined;
    return new MetricsServer(metricsListen, '--metrics-listen', () =>
      askWorkers([...this.children].filter((child) => !this.leaving.has(child) && child !== this.successor)),
    );
  }

  private stopAll(cause: string): void {
    this.stopping = true;
    this.logger.info({ cause, workers: this.children.size }, 'stopping all workers');
    for (const child of this.children) child.process.kill('SIGTERM');
  }

  private fork(): Child {
    const child = cluster.fork();
    this.children.add(child);
    this.startedAt.set(child, performance.now());
    void isReady(child).then((ready) => {
      this.served ||= ready;
    });
    return child;
  }

  private readonly startedAt = new WeakMap<Child, number>();

  private async replace(child: Child, code: number | null, signal: string | null): Promise<void> {
    const settled = performance.now() - (this.startedAt.get(child) ?? 0) >= SETTLED_MS;
    if (settled) this.backoff.reset();
    const wait = settled ? 0 : this.backoff.next();
    this.logger.error(
      { worker: child.id, code, signal, restartInMs: Math.round(wait) },
      'worker exited: starting a replacement',
    );
    await sleep(wait);
    this.topUp();
  }

  /** By number, not by identity: in a rolling restart the successor of one worker may replace another that died. */
  private topUp(): void {
    if (this.stopping) return;
    while (this.children.size - this.leaving.size < this.config.sse.workers) this.fork();
  }

  /** Rolling restart: each new worker reads the settings file again. */
  private async roll(): Promise<void> {
    const old = [...this.children];
    this.logger.info({ workers: old.length }, 'rolling restart begins');
    for (const child of old) {
      if (this.stopping) return;
      // It died and was replaced.
      if (!this.children.has(child)) continue;
      const successor = this.fork();
      this.successor = successor;
      const ready = await isReady(successor);
      this.successor = undefined;
      if (!ready) {
        this.logger.error(
          'rolling restart aborted: the new worker did not become ready, the old ones keep serving',
        );
        return;
      }
      if (!this.children.has(child)) continue;
      this.leaving.add(child);
      const gone = new Promise<void>((resolve) => {
        if (child.isDead()) resolve();
        else child.once('exit', () => resolve());
      });
      child.process.kill('SIGTERM');
      await gone;
    }
    this.logger.info('rolling restart done');
  }
}

function isReady(child: Child): Promise<boolean> {
  return new Promise((resolve) => {
    child.on('message', (message: { lightcone?: string }) => {
      if (message?.lightcone === 'ready') resolve(true);
    });
    child.once('exit', () => resolve(false));
  });
}
