/**
 * Puts questions of one kind together, so that a crowd is answered with few statements while a lone question is answered
 * at once. What is asked in one event-loop turn, or while an earlier batch is under way, shares a batch; and when batches
 * have come thick and fast, small ones are held back so that each gathers more. How long, is learnt: callers that wait for
 * their answers before they ask again bring nothing by being kept waiting.
 */
import type { Clock } from './clock.js';

/** A batch is held back for so long at least, so that it is seen when there is more to come again. */
const SHORTEST_WAIT_MS = 5;
/** Nobody came for so long, and for so many times the usual: the crowd has ended, or all of it waits for its answers. */
const SHORTEST_PAUSE_MS = 20;
const UNUSUAL = 8;

interface Waiting<Question, Answer> {
  question: Question;
  at: number;
  isWanted: () => boolean;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/** Whoever asked has gone. */
export class NotWanted extends Error {}

export interface BatcherOptions<Question, Answer> {
  /** One answer for each question, in their order. */
  ask: (questions: readonly Question[]) => Promise<readonly Answer[]>;
  /** So many batches may go out without waiting, */
  burst: number;
  /** and so many a second in the long run. */
  perSecond: number;
  maxBatch: number;
  /** So many questions are worth a batch whatever came before. */
  worthwhile: number;
  /** Batches are held back for as long as `perSecond` asks, also where waiting has brought nothing lately. */
  steady?: boolean;
  /** Batches are not held back any longer once no more come: for cheap questions of callers who may wait for their answers. */
  untilPause?: boolean;
  clock: Pick<Clock, 'monotonic'>;
}

export class Batcher<Question, Answer> {
  private waiting: Waiting<Question, Answer>[] = [];
  private running = false;
  /** Batches that may go out now; refilled by the time. */
  private allowance: number;
  private refilledAt: number;
  private endWait: (() => void) | undefined;
  /** Twice as long as the last wait brought anything. */
  private patienceMs = Number.POSITIVE_INFINITY;

  constructor(private readonly options: BatcherOptions<Question, Answer>) {
    this.allowance = options.burst;
    this.refilledAt = options.clock.monotonic();
  }

  /** @param isWanted false when nobody waits for the answer any more: a question that has not gone out by then never does */
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

  /** When nobody will have come for so long that nobody is expected any more, by how those came who wait. */
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
    // A debt of one batch at most: a crowd that was worth many must not hold up the few that come after it.
    this.allowance = Math.max(-1, this.allowance - 1);
    return this.allowance >= 0 ? 0 : (-this.allowance / perSecond) * 1000;
  }
}
