/**
 * What a tab missed since its cursor: answered from the recent log where that covers the cursor, else from the database,
 * where equal questions are asked once and at most `CONCURRENT_READS` at a time.
 */
import type { Batcher } from '../core/batcher.js';
import type { Cursor, HistoryChange, HistoryId, Principal, UserId } from '../core/events.js';
import { Limiter } from '../core/limiter.js';
import type { ChangeLog, ChangeScope } from '../database/port.js';
import type { Metrics } from '../telemetry/metrics.js';
import { commentFrame, eventFrame, type Frame, historyUpdateFrame, type Position } from './frame.js';
import type { RecentChanges, RecentLog } from './recent-log.js';

const CONCURRENT_READS = 8;
/** A frame of a `history_update` names at most so many histories. */
export const MAX_IDS_PER_FRAME = 500;

/** Asks for notification status objects (JSON text): many at once when a crowd reconnects. */
export type StatusBatcher = Batcher<{ userId: UserId | undefined; since: Cursor }, string>;

export interface Missed extends RecentChanges {
  /** Notification status as JSON; undefined where notifications are off. */
  status: string | undefined;
}

interface SharedRead {
  begun: boolean;
  answer: Promise<unknown> | undefined;
}

export class CatchUp {
  private readonly limiter = new Limiter(CONCURRENT_READS);
  private readonly reads = new Map<string, SharedRead>();

  constructor(
    private readonly parts: {
      changeLog: ChangeLog;
      recent: RecentLog;
      /** Undefined where the notification system is off. */
      statuses: StatusBatcher | undefined;
      overlapMicros: number;
      metrics: Metrics;
    },
  ) {}

  /**
   * @param viewed histories that the tab looks at without owning them
   * @throws LightconeError DATABASE_UNAVAILABLE when the cursor is beyond the memory and the database cannot be asked
   */
  async missed(
    principal: Principal,
    viewed: readonly HistoryId[],
    since: Cursor,
    cause: 'reconnect' | 'overflow',
  ): Promise<Missed> {
    const { recent, statuses, overlapMicros, metrics } = this.parts;
    const floor = since - overlapMicros;
    const covered = floor >= recent.coveredSince;
    metrics.increment('galaxy.sse.resume.count', 1, { source: covered ? 'memory' : 'database', cause });
    const [status, changes] = await Promise.all([
      statuses?.get({ userId: principal.userId, since: floor }),
      covered ? this.fromMemory(principal, viewed, floor) : this.fromDatabase(principal, viewed, floor),
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
  ): Promise<RecentChanges> {
    const found: RecentChanges = { historyIds: new Set(), entryPoints: false, updateTime: 0 };
    const add = (changes: readonly HistoryChange[]): void => {
      for (const change of changes) {
        found.historyIds.add(change.historyId);
        found.updateTime = Math.max(found.updateTime, change.newest);
      }
    };
    const owners = [
      ...(userId === undefined ? [] : [{ kind: 'user', userId } as const]),
      ...(sessionId === undefined ? [] : [{ kind: 'session', sessionId } as const]),
    ];
    const reads = owners.flatMap((owner) => {
      const key = `${JSON.stringify(owner)}@${floor}`;
      return [
        this.shared(`histories ${key}`, () => this.parts.changeLog.changesSince(floor, owner)).then(add),
        this.shared(`entry points ${key}`, () =>
          this.parts.changeLog.entryPointOwnersSince(floor, owner),
        ).then(({ userIds, sessionIds }) => {
          if (userIds.length + sessionIds.length > 0) found.entryPoints = true;
        }),
      ];
    });
    if (viewed.length > 0) {
      const scope: ChangeScope = { kind: 'histories', historyIds: viewed };
      reads.push(this.limiter.run(() => this.parts.changeLog.changesSince(floor, scope)).then(add));
    }
    await Promise.all(reads);
    return found;
  }

  /**
   * Several tabs of one user that come back together ask the same: they share a read, but only one that has not begun. What
   * is committed and told between the beginning of a read and the opening of a tab is neither in its answer nor sent to the
   * tab. So at most two equal reads follow each other, whoever comes while the first is under way.
   */
  private shared<T>(key: string, read: () => Promise<T>): Promise<T> {
    const last = this.reads.get(key);
    if (last && !last.begun) return last.answer as Promise<T>;
    const mine: SharedRead = { begun: false, answer: undefined };
    const begin = (): Promise<T> =>
      this.limiter.run(() => {
        mine.begun = true;
        return read();
      });
    const answer = (last ? last.answer!.then(begin, begin) : begin()) as Promise<T>;
    mine.answer = answer.finally(() => {
      if (this.reads.get(key) === mine) this.reads.delete(key);
    });
    this.reads.set(key, mine);
    return mine.answer as Promise<T>;
  }
}

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
