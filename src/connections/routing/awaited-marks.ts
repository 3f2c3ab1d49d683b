/**
 * Write marks that open streams wait for. The position of each tick decides which of them it includes. Waiting clients
 * repeat their request, so a dropped mark does no harm.
 */

import { inclusion, type ParsedMark, parseMark } from '../../database/log/write-mark.js';
import type { LogPosition, WriteMark } from '../../database/port.js';
import type { Viewer } from '../../events/kind.js';
import type { Clock } from '../../lib/clock.js';

/** Beyond it the oldest mark is dropped. */
const MOST = 10_000;
const FORGET_MS = 60_000;

interface Awaited {
  owner: Viewer;
  mark: WriteMark;
  parsed: ParsedMark;
  askedAt: number;
}

export interface Answer {
  owner: Viewer;
  /** The stream has received these writes and everything before them. */
  reached: WriteMark[];
  /** Marks of another log, about which nothing is known. */
  unknown: WriteMark[];
}

export class AwaitedMarks {
  private readonly waiting = new Map<string, Awaited>();

  constructor(private readonly clock: Clock) {}

  get size(): number {
    return this.waiting.size;
  }

  /**
   * @returns the caller's marks that the current position decides at once. Only `take` checks those of others, however
   * often a caller asks
   */
  add(owner: Viewer, marks: readonly WriteMark[], position: LogPosition | undefined): Iterable<Answer> {
    const askedAt = this.clock.monotonic();
    const keys = marks.flatMap((mark) => {
      const parsed = parseMark(mark);
      if (parsed === undefined) return [];
      const key = `${owner.userId} ${owner.sessionId} ${mark}`;
      this.waiting.delete(key);
      this.waiting.set(key, { owner, mark, parsed, askedAt });
      if (this.waiting.size > MOST) this.waiting.delete(this.waiting.keys().next().value!);
      return [key];
    });
    return position === undefined ? [] : this.decide(position, keys);
  }

  /** @returns the marks that a position decides, which are then no longer awaited */
  take(position: LogPosition): Iterable<Answer> {
    return this.decide(position, this.waiting.keys());
  }

  private decide(position: LogPosition, keys: Iterable<string>): Iterable<Answer> {
    const includes = inclusion(position);
    const answers = new Map<string, Answer>();
    const since = this.clock.monotonic() - FORGET_MS;
    for (const key of keys) {
      const awaited = this.waiting.get(key);
      if (awaited === undefined) continue;
      const { owner, mark, parsed, askedAt } = awaited;
      const isIncluded = includes(parsed);
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
