/**
 * What a tab missed since its cursor: answered from the recent log where that covers the cursor, else from the database,
 * one question of each caller at a time and few of all.
 */
import type { Batcher } from '../core/batcher.js';
import type { Cursor, HistoryChange, HistoryId, Principal, SessionId, UserId } from '../core/events.js';
import { Limiter } from '../core/limiter.js';
import { secondsToMicros } from '../core/time.js';
import type { ChangeLog } from '../database/port.js';
import type { LeftOut } from '../telemetry/left-out.js';
import type { Metrics } from '../telemetry/metrics.js';
import { CallerReads } from './caller-reads.js';
import { commentFrame, eventFrame, type Frame, historyUpdateFrame, type Position } from './frame.js';
import type { RecentChanges, RecentLog } from './recent-log.js';

/** As many as the database has connections for it. */
const CONCURRENT_READS = 2;
/**
 * The log is asked for no more than the last thirty days. A tab with an older cursor starts over: it is told that any of
 * its histories may have changed.
 */
const OLDEST_CURSOR = secondsToMicros(30 * 86_400);
const START_OVER = Number.NEGATIVE_INFINITY;
/** A frame of a `history_update` names at most so many histories. */
export const MAX_IDS_PER_FRAME = 500;

/** Asks for notification status objects (JSON text): many at once when a crowd reconnects. */
export type StatusBatcher = Batcher<{ userId: UserId | undefined; since: Cursor }, string>;

export interface Missed extends RecentChanges {
  /** Notification status as JSON; undefined where notifications are off. */
  status: string | undefined;
}

/** What is asked for the tabs of one caller: everything since the oldest of their cursors. */
interface Question {
  floor: Cursor;
  userId: UserId | undefined;
  sessionIds: ReadonlySet<SessionId>;
  viewed: ReadonlySet<HistoryId>;
}

interface Answer {
  changes: HistoryChange[];
  entryPoints: { userIds: readonly UserId[]; sessionIds: readonly SessionId[] };
}

export class CatchUp {
  private readonly reads = new CallerReads<Question, Answer>(
    new Limiter(CONCURRENT_READS),
    (question) => this.read(question),
    (one, other) => ({
      floor: Math.min(one.floor, other.floor),
      userId: one.userId,
      sessionIds: new Set([...one.sessionIds, ...other.sessionIds]),
      viewed: new Set([...one.viewed, ...other.viewed]),
    }),
  );

  constructor(
    private readonly parts: {
      changeLog: ChangeLog;
      recent: RecentLog;
      /** Undefined where the notification system is off. */
      statuses: StatusBatcher | undefined;
      overlapMicros: number;
      /** The database's clock, as far as it is known. */
      now: () => Cursor;
      leftOut: LeftOut;
      metrics: Metrics;
    },
  ) {}

  /**
   * @param viewed histories that the tab looks at without owning them
   * @param isWanted false once the tab is closed: what has not been asked by then is not asked any more
   * @throws LightconeError DATABASE_UNAVAILABLE when the cursor is beyond the memory and the database cannot be asked
   * @throws NotWanted
   */
  async missed(
    principal: Principal,
    viewed: readonly HistoryId[],
    since: Cursor,
    cause: 'reconnect' | 'overflow',
    isWanted: () => boolean,
  ): Promise<Missed> {
    const { recent, statuses, overlapMicros, now, leftOut, metrics } = this.parts;
    const floor = since - overlapMicros;
    const oldest = now() - OLDEST_CURSOR;
    const covered = floor >= recent.coveredSince;
    metrics.increment('galaxy.sse.resume.count', 1, { source: covered ? 'memory' : 'database', cause });
    const [status, changes] = await Promise.all([
      statuses &&
        leftOut.unlessBroken(
          'notification',
          statuses.get({ userId: principal.userId, since: Math.max(floor, oldest) }, isWanted),
          undefined,
        ),
      covered
        ? this.fromMemory(principal, viewed, floor)
        : this.fromDatabase(principal, viewed, floor < oldest ? START_OVER : floor, isWanted),
    ]);
    return { status, ...changes };
  }

  private fromMemory(
    { userId, sessionId }: Principal,
    viewed: readonly HistoryId[],
    floor: Cursor,
  ): RecentChanges {
    const { recent } = this.parts;
    const found: RecentChanges = { historyIds: new Set(), entryPoints: false, updateTime: 0 };
    recent.collect(
      { ...(userId !== undefined && { userId }), ...(sessionId !== undefined && { sessionId }) },
      floor,
      found,
    );
    for (const historyId of viewed) {
      if ((recent.lastDelivery(historyId) ?? 0) >= floor) found.historyIds.add(historyId);
    }
    return found;
  }

  private async fromDatabase(
    { userId, sessionId }: Principal,
    viewed: readonly HistoryId[],
    floor: Cursor,
    isWanted: () => boolean,
  ): Promise<RecentChanges> {
    const found: RecentChanges = { historyIds: new Set(), entryPoints: false, updateTime: 0 };
    const sessionIds = new Set(sessionId === undefined ? [] : [sessionId]);
    if (userId === undefined && sessionId === undefined && viewed.length === 0) return found;
    const caller =
      userId !== undefined ? `u${userId}` : sessionId !== undefined ? `s${sessionId}` : 'anybody';
    const question = { floor, userId, sessionIds, viewed: new Set(viewed) };
    const { changes, entryPoints } = await this.reads.ask(caller, question, isWanted);
    const isOwn = (change: HistoryChange): boolean =>
      (userId !== undefined && change.userId === userId) ||
      (sessionId !== undefined && change.sessionIds.includes(sessionId));
    for (const change of changes) {
      // The read may have begun earlier, and for other sessions of the same user.
      if (change.newest <= floor || !(isOwn(change) || question.viewed.has(change.historyId))) continue;
      found.historyIds.add(change.historyId);
      if (Number.isFinite(change.newest)) found.updateTime = Math.max(found.updateTime, change.newest);
    }
    found.entryPoints =
      (userId !== undefined && entryPoints.userIds.includes(userId)) ||
      (sessionId !== undefined && entryPoints.sessionIds.includes(sessionId));
    return found;
  }

  /** One statement after the other: a caller that reads much takes one connection and no more. */
  private async read({ floor, userId, sessionIds, viewed }: Question): Promise<Answer> {
    const { changeLog, leftOut } = this.parts;
    const owners = [
      ...(userId === undefined ? [] : [{ kind: 'user', userId } as const]),
      ...[...sessionIds].map((sessionId) => ({ kind: 'session', sessionId }) as const),
    ];
    const changes: HistoryChange[] = [];
    const entryPoints = { userIds: [] as UserId[], sessionIds: [] as SessionId[] };
    for (const owner of owners) {
      if (floor === START_OVER) {
        changes.push(...(await changeLog.historiesOf(owner)).map((id) => anyTime(id, owner)));
        if (owner.kind === 'user') entryPoints.userIds.push(owner.userId);
        else entryPoints.sessionIds.push(owner.sessionId);
      } else {
        changes.push(...(await changeLog.changesSince(floor, owner)));
        const changed = await leftOut.unlessBroken(
          'interactivetool_entry_point',
          changeLog.entryPointOwnersSince(floor, owner),
          NOBODY,
        );
        entryPoints.userIds.push(...changed.userIds);
        entryPoints.sessionIds.push(...changed.sessionIds);
      }
    }
    if (viewed.size > 0) {
      if (floor === START_OVER) changes.push(...[...viewed].map((id) => anyTime(id)));
      else
        changes.push(
          ...(await changeLog.changesSince(floor, { kind: 'histories', historyIds: [...viewed] })),
        );
    }
    return { changes, entryPoints };
  }
}

const NOBODY = { userIds: [], sessionIds: [] };

/** A history that may have changed at any time. */
const anyTime = (
  historyId: HistoryId,
  owner?: { kind: 'user'; userId: UserId } | { kind: 'session'; sessionId: SessionId },
): HistoryChange => ({
  historyId,
  userId: owner?.kind === 'user' ? owner.userId : undefined,
  sessionIds: owner?.kind === 'session' ? [owner.sessionId] : [],
  newest: Number.POSITIVE_INFINITY,
  rows: 0,
});

/**
 * The frames of a catch-up. All but the last carry the cursor that the tab came with: if the connection breaks between
 * two of them the tab must ask for everything again. The last one carries `reached`.
 */
export function catchUpFrames(
  missed: Missed,
  cameWith: Position,
  reached: Position,
  encodeId: (id: HistoryId) => string,
): Frame[] {
  const makers: ((position: Position) => Frame)[] = [];
  if (missed.status !== undefined) {
    const status = missed.status;
    makers.push((position) => eventFrame('notification_status', status, position));
  }
  const ids = [...missed.historyIds].sort((a, b) => a - b).map(encodeId);
  const updateTime = missed.updateTime === 0 ? undefined : missed.updateTime;
  for (let start = 0; start < ids.length; start += MAX_IDS_PER_FRAME) {
    const update = { ids: ids.slice(start, start + MAX_IDS_PER_FRAME), updateTime };
    makers.push((position) => historyUpdateFrame(update, position));
  }
  if (missed.entryPoints) makers.push((position) => eventFrame('entry_point_update', '{}', position));
  if (makers.length === 0) makers.push((position) => commentFrame('nothing missed', position));
  return makers.map((make, i) => make(i === makers.length - 1 ? reached : cameWith));
}
