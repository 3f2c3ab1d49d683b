/**
 * Interest routing: who a control task concerns, in so few words that a broker can route by it.
 *
 * A user or an anonymous session has one of 256 buckets, by its id; a history has one of 256 others, for those who look at it
 * without owning it. A task for named recipients carries the buckets of all of them; a worker asks for the buckets of its
 * tabs. A bucket says nothing about permission: who is told what is decided by ids, as ever.
 */
import type { ControlTask, HistoryId, SessionId, UserId } from './events.js';

/** 0 to 255: of users and sessions; 256 to 511: of histories. */
export type Bucket = number;

/** Part of what goes over the bus: it must be the same in every process of an installation. */
export const OWNER_BUCKETS = 256;
const HISTORY_BUCKETS = 256;
export const BUCKETS = OWNER_BUCKETS + HISTORY_BUCKETS;

export const ownerBucket = (id: UserId | SessionId): Bucket => id % OWNER_BUCKETS;
export const historyBucket = (id: HistoryId): Bucket => OWNER_BUCKETS + (id % HISTORY_BUCKETS);

/** @returns the buckets of all whom the task concerns, each once; undefined for a task that every worker must hear */
export function bucketsOf(task: ControlTask): ReadonlySet<Bucket> | undefined {
  switch (task.task) {
    case 'history_update': {
      const buckets = new Set<Bucket>();
      // The owner of a history that is not their own is not known to its viewers' worker, hence both.
      for (const updates of [task.userUpdates, task.sessionUpdates]) {
        for (const [owner, historyIds] of updates) {
          buckets.add(ownerBucket(owner));
          for (const id of historyIds) buckets.add(historyBucket(id));
        }
      }
      return buckets;
    }
    case 'notify_users':
      return new Set(task.userIds.map(ownerBucket));
    case 'entry_point_update': {
      const owners = [task.userId, task.sessionId].filter((id) => id !== undefined);
      return new Set(owners.map(ownerBucket));
    }
    default:
      return undefined;
  }
}
