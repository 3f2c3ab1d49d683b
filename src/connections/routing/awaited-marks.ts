/**
 * Write marks that open streams wait for: each tick's position says which of them it includes. Whoever waits asks again now
 * and then, so that nothing is lost when one is forgotten here.
 */

import { includes } from '../../database/log/write-mark.js';
import type { LogPosition, WriteMark } from '../../database/port.js';
import type { Viewer } from '../../events/kind.js';
import type { Clock } from '../../lib/clock.js';

/** The oldest goes when one more comes. */
const MOST = 10_000;
const FORGET_MS = 60_000;

interface Awaited {
  owner: Viewer;
  mark: WriteMark;
  askedAt: number;
}

export interface Answer {
  owner: Viewer;
  /** All that led to these writes, and they themselves, have been sent. */
  reached: WriteMark[];
  /** Of another log: of these nothing can be said. */
  unknown: WriteMark[];
}

export class AwaitedMarks {
  private readonly waiting = new Map<string, Awaited>();

  constructor(private readonly clock: Clock) {}

  get size(): number {
    return this.waiting.size;
  }

  add(owner: Viewer, marks: readonly WriteMark[]): void {
    const askedAt = this.clock.monotonic();
    for (const mark of marks) {
      const key = `${owner.userId} ${owner.sessionId} ${mark}`;
      this.waiting.delete(key);
      this.waiting.set(key, { owner, mark, askedAt });
      if (this.waiting.size > MOST) this.waiting.delete(this.waiting.keys().next().value!);
    }
  }

  /** @returns what a position decides; it is waited for no longer */
  take(position: LogPosition): Iterable<Answer> {
    const answers = new Map<string, Answer>();
    const since = this.clock.monotonic() - FORGET_MS;
    for (const [key, { owner, mark, askedAt }] of this.waiting) {
      const isIncluded = includes(position, mark);
      if (isIncluded !== false || askedAt < since) this.waiting.delete(key);
      if (isIncluded === false) continue;
      const of = `${owner.userId} ${owner.sessionId}`;
      const answer = answers.get(of) ?? { owner, reached: [], unknown: [] };
      answers.set(of, answer);
      answer[isIncluded ? 'reached' : 'unknown'].push(mark);
    }
    return answers.values();
  }
}
