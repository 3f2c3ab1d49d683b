/**
 * Reads the log of histories since a position: for a reconnecting tab, for a gap repair, and for the memory of a new
 * worker.
 */
import type { Cursor, HistoryChange, HistoryId } from '../core/events.js';
import type { ChangeLog, ChangeScope, LogPosition, OwnerScope } from '../database/port.js';
import { MICROS_PER_SECOND } from '../lib/time.js';
import { type Before, type JointQuestion, type Memory, readByOwner, type Since, START_OVER } from './kind.js';

const ALL = { kind: 'all' } as const;
/** Without a usable position the log is read by time, this much earlier: more than any clock difference. */
const UNKNOWN_LOOK_BACK = 3_600 * MICROS_PER_SECOND;

/** @returns the changes that a worker may have missed */
export async function missedSince(
  changeLog: ChangeLog,
  { floor, position }: Since,
): Promise<HistoryChange[]> {
  if (position === undefined) return changeLog.changesSince(floor, ALL);
  const changes = position === null ? undefined : await readFrom(changeLog, position, ALL);
  return changes ?? changeLog.changesSince(floor - UNKNOWN_LOOK_BACK, ALL);
}

/**
 * @returns the changes before the worker's start. A history that became visible between two steps counts under the
 * later one.
 */
export async function memoriesOf(changeLog: ChangeLog, { floor, now, steps }: Before): Promise<Memory[]> {
  if (steps.length === 0) {
    const changes = await changeLog.changesSince(floor, ALL);
    return changes.flatMap((change) => memories(change, change.newest));
  }
  const found = new Map<HistoryId, Memory[]>();
  let until = now;
  for (const { moment, position } of steps.toReversed()) {
    for (const change of (await readFrom(changeLog, position, ALL)) ?? []) {
      if (!found.has(change.historyId)) found.set(change.historyId, memories(change, until));
    }
    until = moment;
  }
  return [...found.values()].flat();
}

/** Reads to the end, in pieces. @returns undefined if the log does not know the position */
async function readFrom(
  changeLog: ChangeLog,
  from: LogPosition,
  scope: ChangeScope,
): Promise<HistoryChange[] | undefined> {
  const changes: HistoryChange[] = [];
  for (let position = from; ; ) {
    const read = await changeLog.since(position, scope);
    if (!read) return undefined;
    changes.push(...read.changes);
    if (read.complete) return changes;
    ({ position } = read);
  }
}

/** @returns changes that may concern the tabs of one caller; all of their histories if the position is unknown */
export async function changesFor(joint: JointQuestion, changeLog: ChangeLog): Promise<HistoryChange[]> {
  const { since, position } = joint;
  const historyIds = [...joint.viewed];
  const read = async (scope: ChangeScope): Promise<HistoryChange[] | undefined> =>
    position === undefined
      ? changeLog.changesSince(since, scope)
      : position === null
        ? undefined
        : readFrom(changeLog, position, scope);
  const startOver = async (): Promise<HistoryChange[]> => {
    const own = await readByOwner(joint, async (owner) =>
      (await changeLog.historiesOf(owner)).map((id) => maybeChanged(id, owner)),
    );
    return [...own, ...historyIds.map((id) => maybeChanged(id))];
  };
  if (since === START_OVER) return startOver();
  let known = true;
  const found = await readByOwner(joint, async (owner) => {
    const changes = known ? await read(owner) : undefined;
    known = changes !== undefined;
    return changes ?? [];
  });
  const viewed = known && historyIds.length > 0 ? await read({ kind: 'histories', historyIds }) : [];
  return known && viewed ? [...found, ...viewed] : startOver();
}

/** A change that is newer than every cursor. */
const maybeChanged = (historyId: HistoryId, owner?: OwnerScope): HistoryChange => ({
  historyId,
  userId: owner?.kind === 'user' ? owner.userId : undefined,
  sessionIds: owner?.kind === 'session' ? [owner.sessionId] : [],
  newest: Number.POSITIVE_INFINITY,
});

function memories({ historyId, userId, sessionIds, newest }: HistoryChange, at: Cursor): Memory[] {
  const owners = [
    ...(userId === undefined ? [] : [{ userId }]),
    ...sessionIds.map((sessionId) => ({ sessionId })),
  ];
  return owners.map((owner) => ({ owner, subject: historyId, at, updateTime: newest }));
}
