import type { Logger } from '../../telemetry/logger.js';

export interface Chore {
  name: string;
  everySeconds: number;
  /** @returns how much there was to do */
  run(): Promise<number>;
}

/** After it became the leader: there is more urgent work then, and a role that changes hands often still gets the chores done. */
const FIRST_AFTER_SECONDS = 20;
/** A timer that is set for longer would ring at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Does each chore in its rhythm while this process leads; one at a time. A chore that fails is tried again in its next turn. */
export class Housekeeper {
  private timers: NodeJS.Timeout[] = [];
  private work: Promise<void> = Promise.resolve();
  private leading = false;

  constructor(
    private readonly chores: readonly Chore[],
    private readonly logger: Logger,
  ) {}

  async gain(): Promise<void> {
    if (this.leading) return;
    this.leading = true;
    this.timers = this.chores.map((chore) => {
      const first = Math.min(chore.everySeconds, FIRST_AFTER_SECONDS);
      return setTimeout(() => this.turn(chore), first * 1000);
    });
  }

  async lose(): Promise<void> {
    this.leading = false;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
    await this.work;
  }

  private turn(chore: Chore): void {
    this.work = this.work.then(() => this.run(chore));
    const timer = setTimeout(
      () => {
        this.timers = this.timers.filter((one) => one !== timer);
        this.turn(chore);
      },
      Math.min(chore.everySeconds * 1000, LONGEST_TIMER_MS),
    );
    this.timers.push(timer);
  }

  private async run({ name, run }: Chore): Promise<void> {
    if (!this.leading) return;
    try {
      const count = await run();
      if (count > 0) this.logger.info({ chore: name, count }, 'housekeeping done');
    } catch (error) {
      this.logger.warn(
        { chore: name, err: error },
        'housekeeping failed; it is tried again in its next turn',
      );
    }
  }
}
