/**
 * Finds what a tab missed since its cursor: from the recent log where that covers the cursor, otherwise from the
 * database, with one question per caller at a time and few in total.
 */

import type { Cursor, HistoryId, Principal, UserId } from '../../core/events.js';
import { Limiter } from '../../core/limiter.js';
import type { ChangeLog } from '../../database/port.js';
import { commentFrame, type EventId, type Frame } from '../../events/frame.js';
import {
  type CatchUpReads,
  type FrameMaker,
  type JointQuestion,
  MEMORY_MARGIN,
  type Question,
  type Remembered,
  START_OVER,
} from '../../events/kind.js';
import type { EventRegistry } from '../../events/registry.js';
import type { SinceToken } from '../../events/since.js';
import type { Batcher } from '../../lib/batcher.js';
import { secondsToMicros } from '../../lib/time.js';
import type { Metrics, TagsOf } from '../../telemetry/metrics.js';
import type { SkippedRows } from '../../telemetry/skipped-rows.js';
import { CallerReads } from './caller-reads.js';
import type { Positions } from './positions.js';
import type { RecentChanges, RecentLog } from './recent-log.js';

/** The number of database connections for catch-ups. */
const CONCURRENT_READS = 2;
/**
 * The log is read for at most the last thirty days. A tab with an older cursor starts over: any of its histories may
 * have changed.
 */
const OLDEST_CURSOR = secondsToMicros(30 * 86_400);

/** Reads notification status objects (JSON text), many at once when a crowd reconnects. */
export type StatusBatcher = Batcher<{ userId: UserId | undefined; since: Cursor }, string>;

export type CatchUpCause = TagsOf<'galaxy.sse.resume.count'>['cause'];

export class CatchUp {
  private readonly callers = new CallerReads<JointQuestion>(new Limiter(CONCURRENT_READS), join);
  private readonly reads: CatchUpReads;

  constructor(
    private readonly options: {
      kinds: EventRegistry;
      changeLog: ChangeLog;
      recent: RecentLog;
      /** Undefined if the notification system is off. */
      statuses: StatusBatcher | undefined;
      positions: Pick<Positions, 'ofId' | 'mayBeOfAnotherLog' | 'floor'>;
      /** The estimated database clock. */
      now: () => Cursor;
      skippedRows: SkippedRows;
      metrics: Metrics;
    },
  ) {
    this.reads = {
      changeLog: options.changeLog,
      jointly: (kind, question, read) => {
        const { principal, viewed, since, position, isWanted } = question;
        const { userId, sessionId } = principal;
        const caller =
          userId !== undefined ? `u${userId}` : sessionId !== undefined ? `s${sessionId}` : 'anybody';
        const sessionIds = new Set(sessionId === undefined ? [] : [sessionId]);
        const joint = { since, position, userId, sessionIds, viewed: new Set(viewed) };
        return this.callers.ask(`${kind} ${caller}`, joint, isWanted, read);
      },
      status: ({ principal: { userId }, since, isWanted }) =>
        options.statuses?.get({ userId, since: Math.max(since, options.now() - OLDEST_CURSOR) }, isWanted),
    };
  }

  /**
   * @param viewed histories of other owners that the tab views
   * @param isWanted false once the tab is closed; pending questions are then dropped
   * @returns makers of the frames, in the order of sending
   * @throws LightconeError DATABASE_UNAVAILABLE if the cursor is beyond the memory and the database does not answer
   * @throws NotWanted
   */
  async missed(
    principal: Principal,
    viewed: readonly HistoryId[],
    since: Cursor,
    cause: CatchUpCause,
    isWanted: () => boolean,
  ): Promise<FrameMaker[]> {
    const { kinds, recent, positions, now, skippedRows, metrics } = this.options;
    const floor = positions.floor(since);
    const startOver = positions.mayBeOfAnotherLog(since);
    const question = {
      principal,
      viewed,
      since: startOver || floor < now() - OLDEST_CURSOR ? START_OVER : floor,
      position: positions.ofId(since),
      isWanted,
    };
    const remembered = since - MEMORY_MARGIN;
    const covered = !startOver && remembered >= recent.coveredSince;
    metrics.increment('galaxy.sse.resume.count', 1, { source: covered ? 'memory' : 'database', cause });
    const found = covered ? this.remembered(question, remembered) : undefined;
    const options = kinds.catchUps.map(({ event, catchUp }) =>
      found !== undefined && catchUp.fromMemory !== 'never'
        ? catchUp.fromMemory(found)
        : skippedRows.unlessBroken(event, catchUp.fromDatabase(question, this.reads), []),
    );
    return (await Promise.all(options)).flat();
  }

  private remembered({ principal: { userId, sessionId }, viewed }: Question, since: Cursor): Remembered {
    const { recent } = this.options;
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
}

const join = (one: JointQuestion, other: JointQuestion): JointQuestion => ({
  since: Math.min(one.since, other.since),
  position: one.since <= other.since ? one.position : other.position,
  userId: one.userId,
  sessionIds: new Set([...one.sessionIds, ...other.sessionIds]),
  viewed: new Set([...one.viewed, ...other.viewed]),
});

/**
 * The frames of a catch-up. All but the last carry the old cursor: if the connection breaks between them, the tab must
 * request everything again. The last one carries `reached`. If `reached` equals the old cursor, a comment marks the
 * end.
 */
export function catchUpFrames(
  missed: readonly FrameMaker[],
  cameWith: EventId,
  reached: EventId,
  encodeId: (id: HistoryId) => string,
  since?: SinceToken,
): Frame[] {
  if (missed.length === 0) return [commentFrame('nothing missed', reached)];
  const frames = missed.map((make, i) => make(i === missed.length - 1 ? reached : cameWith, encodeId, since));
  return reached.cursor === cameWith.cursor ? [...frames, commentFrame('that was all', reached)] : frames;
}
