/**
 * What callers ask the database, so that none of them stops another: each has at most one read under way and one that
 * waits. Whoever asks meanwhile joins the one that waits, however many tabs it opens and however old their cursors are.
 */

import type { Limiter } from '../../core/limiter.js';
import { NotWanted } from '../../lib/batcher.js';

interface Waiting<Question> {
  question: Question;
  /** Whether those who asked still want to know. */
  wanted: (() => boolean)[];
  answer: Promise<unknown>;
}

interface Caller<Question> {
  /** Settles when what is under way has. */
  done: Promise<unknown>;
  next: Waiting<Question> | undefined;
  reads: number;
}

export class CallerReads<Question> {
  private readonly callers = new Map<string, Caller<Question>>();

  constructor(
    private readonly limiter: Limiter,
    /** One question, whose answer tells all that is asked for in either. */
    private readonly join: (one: Question, other: Question) => Question,
  ) {}

  /**
   * Never joins a read that has begun: what is committed and told between its beginning and the opening of a tab is neither
   * in its answer nor sent to the tab.
   *
   * @param caller and `read` belong together
   * @throws NotWanted when all who asked have gone before the read began
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
