/**
 * Isolates the database reads of callers from each other: each caller has at most one running read and one waiting
 * read. Further questions join the waiting read, however many tabs the caller opens and however old their cursors are.
 */

import type { Limiter } from '../../core/limiter.js';
import { NotWanted } from '../../lib/batcher.js';

interface Waiting<Question> {
  question: Question;
  /** Whether each questioner still wants the answer. */
  wanted: (() => boolean)[];
  answer: Promise<unknown>;
}

interface Caller<Question> {
  /** Settles when the running read has settled. */
  done: Promise<unknown>;
  next: Waiting<Question> | undefined;
  reads: number;
}

export class CallerReads<Question> {
  private readonly callers = new Map<string, Caller<Question>>();

  constructor(
    private readonly limiter: Limiter,
    /** Merges two questions into one whose answer covers both. */
    private readonly join: (one: Question, other: Question) => Question,
  ) {}

  /**
   * Never joins a running read: its answer lacks what is committed and delivered between its start and the opening of
   * the tab.
   * @param caller must always go with the same kind of `read`
   * @throws NotWanted if all questioners have gone before the read starts
   */
  ask<Answer>(
    caller: string,
    question: Question,
    isWanted: () => boolean,
    read: (question: Question) => Promise<Answer>,
  ): Promise<Answer> {
    const known = this.callers.get(caller) ?? { done: Promise.resolve(), next: undefined, reads: 0 };
    this.callers.set(caller, known);
    if (known.next) {
      known.next.question = this.join(known.next.question, question);
      known.next.wanted.push(isWanted);
      return known.next.answer as Promise<Answer>;
    }
    const mine = { question, wanted: [isWanted] };
    const answer = known.done.then(() =>
      this.limiter.run(async () => {
        known.next = undefined;
        if (!mine.wanted.some((isStillWanted) => isStillWanted())) throw new NotWanted();
        return read(mine.question);
      }),
    );
    known.next = Object.assign(mine, { answer });
    known.reads += 1;
    known.done = answer.then(ignore, ignore).then(() => {
      known.reads -= 1;
      if (known.reads === 0) this.callers.delete(caller);
    });
    return answer;
  }
}

const ignore = (): void => {};
