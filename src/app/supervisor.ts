/**
 * Several workers on one listening socket. The supervisor forks them, replaces those that die, and does nothing per
 * connection or event: the workers accept from the shared socket themselves (node:cluster without its scheduling).
 *
 * SIGHUP replaces the workers one by one, each new one listening before its predecessor drains, so that the socket is
 * never closed. SIGTERM and SIGINT stop all.
 */
import cluster, { type Worker as Child } from 'node:cluster';
import type { Config } from '../config/config.js';
import { Backoff } from '../core/backoff.js';
import { sleep } from '../core/lifecycle.js';
import type { Logger } from '../telemetry/logger.js';

/** A worker that lived so long may be replaced at once; one that dies sooner is replaced with back-off. */
const SETTLED_MS = 10_000;

export async function supervise(config: Config, options: { demo: boolean; logger: Logger }): Promise<void> {
  if (cluster.isWorker) {
    const { serve } = await import('./serve.js');
    const number = cluster.worker!.id;
    await serve(config, { ...options, demo: options.demo && number === 1, workerNumber: number });
    // The channel to the supervisor would keep the process alive.
    process.disconnect();
    return;
  }
  await new Supervisor(config, options.logger).run();
}

class Supervisor {
  private readonly children = new Set<Child>();
  private readonly leaving = new Set<Child>();
  private readonly backoff = new Backoff(100, 5000);
  private stopping = false;
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
        this.logger.info({ signal, workers: this.children.size }, 'stopping all workers');
        this.stopping = true;
        for (const child of this.children) child.process.kill('SIGTERM');
        if (this.children.size === 0) resolve();
      };
      process.on('SIGTERM', onSignal);
      process.on('SIGINT', onSignal);
      cluster.on('exit', (child, code, signal) => {
        this.children.delete(child);
        if (this.stopping) {
          if (this.children.size === 0) resolve();
        } else if (!this.leaving.delete(child)) {
          void this.replace(child, code, signal);
        }
      });
    });
    process.on('SIGHUP', () => {
      this.rolling = this.rolling.then(() => this.roll());
    });
    for (let i = 0; i < this.config.sse.workers; i += 1) this.fork();
    await stopped;
    this.logger.info('all workers stopped');
  }

  private fork(): Child {
    const child = cluster.fork();
    this.children.add(child);
    this.startedAt.set(child, performance.now());
    return child;
  }

  private readonly startedAt = new WeakMap<Child, number>();

  private async replace(child: Child, code: number | null, signal: string | null): Promise<void> {
    const settled = performance.now() - (this.startedAt.get(child) ?? 0) >= SETTLED_MS;
    if (code === 2) {
      // The worker has said what is wrong with the settings: trying again would say it again.
      this.logger.error('a worker refused its settings; stopping');
      process.exitCode = 2;
      process.kill(process.pid, 'SIGTERM');
      return;
    }
    if (settled) this.backoff.reset();
    const wait = settled ? 0 : this.backoff.next();
    this.logger.error(
      { worker: child.id, code, signal, restartInMs: Math.round(wait) },
      'a worker died; it is replaced',
    );
    await sleep(wait);
    if (!this.stopping) this.fork();
  }

  /** Rolling restart: the settings file is read again by each new worker. */
  private async roll(): Promise<void> {
    const old = [...this.children];
    this.logger.info({ workers: old.length }, 'rolling restart begins');
    for (const child of old) {
      if (this.stopping) return;
      const successor = this.fork();
      if (!(await isReady(successor))) {
        this.logger.error(
          'rolling restart given up: the new worker did not become ready; the old ones go on',
        );
        return;
      }
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
