/**
 * Groups questions of one kind into batches, so that a crowd costs few statements while a lone question is answered
 * at once. Questions of one event-loop turn, or of the time of a running batch, share a batch. After many batches in
 * short time, it delays small ones to collect more. It learns the delay: callers that wait for their answer before
 * they ask again do not benefit from it.
 */
import type { Clock } from './clock.js';

/** Shortest delay of a batch, in which further questions can arrive. */
const SHORTEST_WAIT_MS = 5;
/**
 * If no question arrives for this long, and for several times the usual interval, the crowd is over or waits for
 * answers.
 */
const SHORTEST_PAUSE_MS = 20;
const UNUSUAL = 8;

interface Waiting<Question, Answer> {
  question: Question;
  at: number;
  isWanted: () => boolean;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/** The caller no longer waits for the answer. */
export class NotWanted extends Error {}

export interface BatcherOptions<Question, Answer> {
  /** @returns one answer per question, in the same order */
  ask: (questions: readonly Question[]) => Promise<readonly Answer[]>;
  /** Number of batches that may go out without a delay. */
  burst: number;
  /** Number of batches per second in the long run. */
  perSecond: number;
  maxBatch: number;
  /** A batch with this many questions is never delayed. */
  worthwhile: number;
  /** Delay batches as `perSecond` demands, even if earlier delays collected nothing. */
  steady?: boolean;
  /** Send a batch as soon as no more questions arrive: for cheap questions of callers that can wait. */
  untilPause?: boolean;
  clock: Pick<Clock, 'monotonic'>;
}

export class Batcher<Question, Answer> {
  private waiting: Waiting<Question, Answer>[] = [];
  private running = false;
  /** Batches that may go out now; it grows with time. */
  private allowance: number;
  private refilledAt: number;
  private endWait: (() => void) | undefined;
  /** Twice the last delay that collected anything. */
  private patienceMs = Number.POSITIVE_INFINITY;

  constructor(private readonly options: BatcherOptions<Question, Answer>) {
    this.allowance = options.burst;
    this.refilledAt = options.clock.monotonic();
  }

  /**
   * @param isWanted false when nobody waits for the answer any more; a question that has not gone out by then is
   * dropped
   */
  get(question: Question, isWanted: () => boolean = () => true): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ question, at: this.options.clock.monotonic(), isWanted, resolve, reject });
      if (!this.running) void this.run();
      else if (this.waiting.length >= this.options.worthwhile) this.endWait?.();
    });
  }

  private async run(): Promise<void> {
    this.running = true;
    await new Promise(setImmediate);
    while (this.waiting.length > 0) {
      const wait = this.takeAllowance();
      if (wait === 0) this.patienceMs = Number.POSITIVE_INFINITY;
      else if (this.waiting.length < this.options.worthwhile) await this.waitForMore(wait);
      const batch = this.takeBatch();
      if (batch.length === 0) continue;
      try {
        const answers = await this.options.ask(batch.map(({ question }) => question));
        batch.forEach(({ resolve }, i) => {
          resolve(answers[i]!);
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.running = false;
  }

  private takeBatch(): Waiting<Question, Answer>[] {
    const batch: Waiting<Question, Answer>[] = [];
    let taken = 0;
    for (const one of this.waiting) {
      if (batch.length === this.options.maxBatch) break;
      taken += 1;
      if (one.isWanted()) batch.push(one);
      else one.reject(new NotWanted());
    }
    this.waiting.splice(0, taken);
    return batch;
  }

  private async waitForMore(longestMs: number): Promise<void> {
    const { clock, worthwhile, steady, untilPause } = this.options;
    const begin = clock.monotonic();
    const end = begin + Math.min(longestMs, this.patienceMs);
    const due = (): number => (untilPause ? Math.min(end, this.pauseEndsAt()) : end);
    let until: number;
    do {
      until = due();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, until - clock.monotonic()));
        this.endWait = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    } while (this.waiting.length < worthwhile && due() !== until);
    this.endWait = undefined;
    this.patienceMs =
      steady || this.waiting.length >= worthwhile
        ? Number.POSITIVE_INFINITY
        : Math.max(SHORTEST_WAIT_MS, 2 * (this.waiting.at(-1)!.at - begin));
  }

  /** @returns the time at which no more questions are expected, by the intervals of the waiting ones */
  private pauseEndsAt(): number {
    const count = this.waiting.length;
    if (count < 2) return Number.POSITIVE_INFINITY;
    const newest = this.waiting[count - 1]!.at;
    return newest + Math.max(SHORTEST_PAUSE_MS, (UNUSUAL * (newest - this.waiting[0]!.at)) / (count - 1));
  }

  /** @returns milliseconds until the batch may go out */
  private takeAllowance(): number {
    const { burst, perSecond, clock } = this.options;
    const now = clock.monotonic();
    this.allowance = Math.min(burst, this.allowance + ((now - this.refilledAt) / 1000) * perSecond);
    this.refilledAt = now;
    // At most one batch of debt: a crowd must not delay the few that come after it.
    this.allowance = Math.max(-1, this.allowance - 1);
    return this.allowance >= 0 ? 0 : (-this.allowance / perSecond) * 1000;
  }
}
