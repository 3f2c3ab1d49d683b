import type { Logger } from '../telemetry/logger.js';

export interface MaintenanceJob {
  name: string;
  everySeconds: number;
  /** Ends soon after `over` aborts. @returns the amount of work done */
  run(over: AbortSignal): Promise<number>;
}

/**
 * Delay after becoming the leader: other work is more urgent then, and a role that changes hands often still runs the
 * jobs.
 */
const FIRST_AFTER_SECONDS = 20;
/** A longer timer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Runs each job at its interval while this process leads, one at a time. A failed job runs again at its next interval.
 */
export class MaintenanceScheduler {
  private timers: NodeJS.Timeout[] = [];
  private work: Promise<void> = Promise.resolve();
  private over: AbortController | undefined;

  constructor(
    private readonly jobs: readonly MaintenanceJob[],
    private readonly logger: Logger,
  ) {}

  async gain(): Promise<void> {
    if (this.over) return;
    this.over = new AbortController();
    const { signal } = this.over;
    this.timers = this.jobs.map((job) => {
      const first = Math.min(job.everySeconds, FIRST_AFTER_SECONDS);
      return setTimeout(() => this.turn(job, signal), first * 1000);
    });
  }

  /** Does not wait for a running job: it does no harm beside that of a successor. */
  async lose(): Promise<void> {
    this.over?.abort();
    this.over = undefined;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
  }

  async stop(): Promise<void> {
    await this.lose();
    await this.work;
  }

  private turn(job: MaintenanceJob, over: AbortSignal): void {
    this.work = this.work.then(() => this.run(job, over));
    const timer = setTimeout(
      () => {
        this.timers = this.timers.filter((one) => one !== timer);
        this.turn(job, over);
      },
      Math.min(job.everySeconds * 1000, LONGEST_TIMER_MS),
    );
    this.timers.push(timer);
  }

  private async run({ name, run }: MaintenanceJob, over: AbortSignal): Promise<void> {
    if (over.aborted) return;
    try {
      const count = await run(over);
      if (count > 0) this.logger.info({ job: name, count }, 'maintenance job done');
    } catch (error) {
      this.logger.warn({ job: name, err: error }, 'maintenance job failed: retrying at its next interval');
    }
  }
}
