/**
 * What a tab missed since its cursor: answered from the recent log where that covers the cursor, else from the database,
 * where equal questions are asked once and at most `CONCURRENT_READS` at a time.
 */
import type { Batcher } from '../core/batcher.js';
import type { Cursor, HistoryId, Principal, UserId } from '../core/events.js';
import { Limiter } from '../core/limiter.js';
import type { ChangeLog } from '../database/port.js';
import { commentFrame, type Frame, type Position } from '../events/frame.js';
import type { CatchUpReads, FrameMaker, Question, Remembered } from '../events/kind.js';
import type { EventRegistry } from '../events/registry.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { RecentChanges, RecentLog } from './recent-log.js';

const CONCURRENT_READS = 8;

/** Asks for notification status objects (JSON text): many at once when a crowd reconnects. */
export type StatusBatcher = Batcher<{ userId: UserId | undefined; since: Cursor }, string>;

interface SharedRead {
  begun: boolean;
  answer: Promise<unknown> | undefined;
}

export class CatchUp {
  private readonly limiter = new Limiter(CONCURRENT_READS);
  private readonly underWay = new Map<string, SharedRead>();
  private readonly reads: CatchUpReads;

  constructor(
    private readonly parts: {
      kinds: EventRegistry;
      changeLog: ChangeLog;
      recent: RecentLog;
      /** Undefined where the notification system is off. */
      statuses: StatusBatcher | undefined;
      overlapMicros: number;
      metrics: Metrics;
    },
  ) {
    this.reads = {
      changeLog: parts.changeLog,
      shared: (key, read) => this.shared(key, read),
      limited: (read) => this.limiter.run(read),
      status: ({ principal: { userId }, since }) => parts.statuses?.get({ userId, since }),
    };
  }

  /**
   * @param viewed histories that the tab looks at without owning them
   * @returns what makes the frames, in the order in which they are sent
   * @throws LightconeError DATABASE_UNAVAILABLE when the cursor is beyond the memory and the database cannot be asked
   */
  async missed(
    principal: Principal,
    viewed: readonly HistoryId[],
    since: Cursor,
    cause: 'reconnect' | 'overflow',
  ): Promise<FrameMaker[]> {
    const { kinds, recent, overlapMicros, metrics } = this.parts;
    const question = { principal, viewed, since: since - overlapMicros };
    const covered = question.since >= recent.coveredSince;
    metrics.increment('galaxy.sse.resume.count', 1, { source: covered ? 'memory' : 'database', cause });
    const remembered = covered ? this.remembered(question) : undefined;
    const parts = kinds.catchUps.map(({ catchUp }) =>
      remembered !== undefined && catchUp.fromMemory !== 'never'
        ? catchUp.fromMemory(remembered)
        : catchUp.fromDatabase(question, this.reads),
    );
    return (await Promise.all(parts)).flat();
  }

  private remembered({ principal: { userId, sessionId }, viewed, since }: Question): Remembered {
    const { recent } = this.parts;
    const found: RecentChanges = { subjects: new Set(), updateTime: 0 };
    recent.collect(
      { ...(userId !== undefined && { userId }), ...(sessionId !== undefined && { sessionId }) },
      since,
      found,
    );
    for (const historyId of viewed) {
      if ((recent.lastDelivery(historyId) ?? 0) >= since) found.subjects.add(historyId);
    }
    return found;
  }

  /**
   * Several tabs of one user that come back together ask the same: they share a read, but only one that has not begun. What
   * is committed and told between the beginning of a read and the opening of a tab is neither in its answer nor sent to the
   * tab. So at most two equal reads follow each other, whoever comes while the first is under way.
   */
  private shared<T>(key: string, read: () => Promise<T>): Promise<T> {
    const last = this.underWay.get(key);
    if (last && !last.begun) return last.answer as Promise<T>;
    const mine: SharedRead = { begun: false, answer: undefined };
    const begin = (): Promise<T> =>
      this.limiter.run(() => {
        mine.begun = true;
        return read();
      });
    const answer = (last ? last.answer!.then(begin, begin) : begin()) as Promise<T>;
    mine.answer = answer.finally(() => {
      if (this.underWay.get(key) === mine) this.underWay.delete(key);
    });
    this.underWay.set(key, mine);
    return mine.answer as Promise<T>;
  }
}

/**
 * The frames of a catch-up. All but the last carry the cursor that the tab came with: if the connection breaks between
 * two of them the tab must ask for everything again. The last one carries `reached`.
 */
export function catchUpFrames(
  missed: readonly FrameMaker[],
  cameWith: Position,
  reached: Position,
  encodeId: (id: HistoryId) => string,
): Frame[] {
  if (missed.length === 0) return [commentFrame('nothing missed', reached)];
  return missed.map((make, i) => make(i === missed.length - 1 ? reached : cameWith, encodeId));
}
