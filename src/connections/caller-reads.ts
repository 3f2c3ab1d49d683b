/**
 * What callers ask the database, so that none of them stops another: each has at most one read under way and one that
 * waits. Whoever asks meanwhile joins the one that waits, however many tabs it opens and however old their cursors are.
 */
import { NotWanted } from '../core/batcher.js';
import type { Limiter } from '../core/limiter.js';

interface Waiting<Question, Answer> {
  question: Question;
  /** Whether those who asked still want to know. */
  wanted: (() => boolean)[];
  answer: Promise<Answer>;
}

interface Caller<Question, Answer> {
  /** Settles when what is under way has. */
  done: Promise<unknown>;
  next: Waiting<Question, Answer> | undefined;
  reads: number;
}

export class CallerReads<Question, Answer> {
  private readonly callers = new Map<string, Caller<Question, Answer>>();

  constructor(
    private readonly limiter: Limiter,
    private readonly read: (question: Question) => Promise<Answer>,
    /** One question, whose answer tells all that is asked for in either. */
    private readonly join: (one: Question, other: Question) => Question,
  ) {}

  /**
   * Never joins a read that has begun: what is committed and told between its beginning and the opening of a tab is neither
   * in its answer nor sent to the tab.
   *
   * @throws NotWanted when all who asked have gone before the read began
   */
  ask(caller: string, question: Question, isWanted: () => boolean): Promise<Answer> {
    const known = this.callers.get(caller) ?? { done: Promise.resolve(), next: undefined, reads: 0 };
    this.callers.set(caller, known);
    if (known.next) {
      known.next.question = this.join(known.next.question, question);
      known.next.wanted.push(isWanted);
      return known.next.answer;
    }
    const mine: Waiting<Question, Answer> = { question, wanted: [isWanted], answer: undefined as never };
    mine.answer = known.done.then(() => this.limiter.run(() => this.begin(known, mine)));
    known.next = mine;
    known.reads += 1;
    known.done = mine.answer.then(ignore, ignore).then(() => {
      known.reads -= 1;
      if (known.reads === 0) this.callers.delete(caller);
    });
    return mine.answer;
  }

  private async begin(
    caller: Caller<Question, Answer>,
    { question, wanted }: Waiting<Question, Answer>,
  ): Promise<Answer> {
    caller.next = undefined;
    if (!wanted.some((isWanted) => isWanted())) throw new NotWanted();
    return this.read(question);
  }
}

const ignore = (): void => {};
