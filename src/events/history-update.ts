/** "These histories changed." From the monitor to the owner, the sessions of an anonymous history, and its viewers. */
import type {
  Cursor,
  HistoryChange,
  HistoryId,
  HistoryUpdateTask,
  Micros,
  SessionId,
  UserId,
} from '../core/events.js';
import { toTasks } from '../core/tasks.js';
import { formatIso, MICROS_PER_SECOND } from '../core/time.js';
import type { ChangeLog, ChangeScope, LogPosition, OwnerScope } from '../database/port.js';
import { absent, FieldError, idMap, isRecord, moment, optionalEventId } from './fields.js';
import { Frame, frameText, type MergeRule, type Position } from './frame.js';
import {
  type EventKind,
  type FrameMaker,
  type JointQuestion,
  type Memory,
  type OpenStream,
  type OpenStreams,
  readByOwner,
  START_OVER,
} from './kind.js';
import type { JsonValue } from './python-json.js';

const EVENT = 'history_update';
/** A frame names at most so many histories. */
export const MAX_IDS_PER_FRAME = 500;
/** More ids than this in one waiting event, and the database is the better place to keep them. */
const MAX_MERGED_IDS = 500;

export interface HistoryUpdate {
  /** Encoded ids. */
  readonly ids: readonly string[];
  readonly updateTime: Micros | undefined;
}

export const historyUpdate: EventKind<HistoryUpdateTask> = {
  event: EVENT,
  audience: 'the owner; the session of an anonymous history; viewers',
  data: '`{"history_ids":["<encoded>",…],"update_time":"<newest audit time>"}`',

  task: {
    name: EVENT,
    // Nearly all that a worker reads, and mostly for others' users: optional fields are set, because a spread costs more.
    read(kwargs) {
      const { user_updates, session_updates, update_time } = kwargs;
      if (absent(user_updates) && absent(session_updates)) {
        throw new FieldError('user_updates and session_updates are both missing');
      }
      const task: HistoryUpdateTask = {
        task: EVENT,
        userUpdates: idMap('user_updates', user_updates),
        sessionUpdates: idMap('session_updates', session_updates),
      };
      if (!absent(update_time)) task.updateTime = moment('update_time', update_time);
      return optionalEventId(task, kwargs);
    },
    write({ userUpdates, sessionUpdates, eventId, updateTime }) {
      const kwargs = new Map<string, JsonValue>([['user_updates', userUpdates]]);
      if (eventId !== undefined) kwargs.set('event_id', eventId);
      if (sessionUpdates.size > 0) kwargs.set('session_updates', sessionUpdates);
      if (updateTime !== undefined) kwargs.set('update_time', formatIso(updateTime));
      return kwargs;
    },
  },

  deliver(task, streams) {
    const { userUpdates, sessionUpdates, updateTime } = task;
    let told = false;
    const at = streams.recordingTime(updateTime);
    for (const [userId, historyIds] of userUpdates) {
      for (const id of historyIds) streams.rememberUser(userId, id, at, updateTime ?? 0);
      if (!streams.hasUser(userId)) continue;
      streams.toUser(userId, historyFrames(historyIds, updateTime, streams));
      told = true;
    }
    for (const [sessionId, historyIds] of sessionUpdates) {
      for (const id of historyIds) streams.rememberSession(sessionId, id, at, updateTime ?? 0);
      if (!streams.hasSession(sessionId)) continue;
      streams.toSession(sessionId, historyFrames(historyIds, updateTime, streams));
      told = true;
    }
    if (streams.hasViewers && toViewers(task, streams)) told = true;
    return told ? updateTime : undefined;
  },

  catchUp: {
    fromMemory: ({ subjects, updateTime }) =>
      makers(
        [...subjects].filter((subject) => subject > 0),
        updateTime,
      ),

    async fromDatabase(question, reads) {
      const { principal, viewed, since, position } = question;
      const { userId, sessionId } = principal;
      if (userId === undefined && sessionId === undefined && viewed.length === 0) return [];
      const found = await reads.jointly(EVENT, question, (joint) => changesOf(joint, reads.changeLog));
      const changes = found.filter(
        (change) =>
          // What was asked for another tab of this caller, from an older cursor.
          (position !== undefined || change.newest > since) &&
          ((userId !== undefined && change.userId === userId) ||
            (sessionId !== undefined && change.sessionIds.includes(sessionId)) ||
            viewed.includes(change.historyId)),
      );
      return makers(
        [...new Set(changes.map(({ historyId }) => historyId))],
        changes.reduce((newest, change) => Math.max(newest, change.newest), 0),
      );
    },
  },

  async repair({ changeLog }, { floor, position }) {
    const all = { kind: 'all' } as const;
    if (position === undefined) return toTasks(await changeLog.changesSince(floor, all));
    const changes = position === null ? undefined : await readFrom(changeLog, position, all);
    return toTasks(changes ?? (await changeLog.changesSince(floor - UNKNOWN_LOOK_BACK, all)));
  },

  /** A history that became visible between two steps is remembered under the later one. */
  async preload({ changeLog }, { floor, now, steps }) {
    const all = { kind: 'all' } as const;
    if (steps.length === 0)
      return (await changeLog.changesSince(floor, all)).flatMap((it) => memories(it, it.newest));
    const found = new Map<HistoryId, Memory[]>();
    let until = now;
    for (const { moment, position } of steps.toReversed()) {
      for (const change of (await readFrom(changeLog, position, all)) ?? []) {
        if (!found.has(change.historyId)) found.set(change.historyId, memories(change, until));
      }
      until = moment;
    }
    return [...found.values()].flat();
  },
};

/** Where the log is another one, or the position was never given: by the time, with more than any clock is off. */
const UNKNOWN_LOOK_BACK = 3_600 * MICROS_PER_SECOND;

/** To the end, in pieces. @returns undefined for a position that the log does not know */
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

async function changesOf(joint: JointQuestion, changeLog: ChangeLog): Promise<HistoryChange[]> {
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

/** Newer than every cursor. */
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

/** Who looks at a history without owning it. A stream that was told as its owner's is not told twice. */
function toViewers(
  { userUpdates, sessionUpdates, updateTime }: HistoryUpdateTask,
  streams: OpenStreams,
): boolean {
  const changed = new Set<HistoryId>();
  for (const ids of userUpdates.values()) for (const id of ids) changed.add(id);
  for (const ids of sessionUpdates.values()) for (const id of ids) changed.add(id);
  const wasTold = (userId: UserId | undefined, sessionId: SessionId | undefined, historyId: HistoryId) =>
    (userId !== undefined && userUpdates.get(userId)?.includes(historyId)) ||
    (sessionId !== undefined && sessionUpdates.get(sessionId)?.includes(historyId));
  const toTell = new Map<OpenStream, Set<HistoryId>>();
  for (const historyId of changed) {
    for (const stream of streams.viewersOf(historyId)) {
      if (wasTold(stream.principal.userId, stream.principal.sessionId, historyId)) continue;
      const ids = toTell.get(stream);
      if (ids) ids.add(historyId);
      else toTell.set(stream, new Set([historyId]));
    }
  }
  for (const [stream, ids] of toTell) streams.to(stream, historyFrames([...ids], updateTime, streams));
  return toTell.size > 0;
}

/** Frames that name these histories: more than one where they are many. */
export function historyFrames(
  historyIds: readonly HistoryId[],
  updateTime: Micros | undefined,
  { position, encodeId }: Pick<OpenStreams, 'position' | 'encodeId'>,
): Frame[] {
  const frames: Frame[] = [];
  for (let start = 0; start < historyIds.length; start += MAX_IDS_PER_FRAME) {
    const ids = historyIds.slice(start, start + MAX_IDS_PER_FRAME).map(encodeId);
    frames.push(historyUpdateFrame({ ids, updateTime }, position));
  }
  return frames;
}

function makers(historyIds: HistoryId[], newest: Micros): FrameMaker[] {
  const updateTime = newest === 0 || newest === Number.POSITIVE_INFINITY ? undefined : newest;
  historyIds.sort((a, b) => a - b);
  const made: FrameMaker[] = [];
  for (let start = 0; start < historyIds.length; start += MAX_IDS_PER_FRAME) {
    const ids = historyIds.slice(start, start + MAX_IDS_PER_FRAME);
    made.push((position, encodeId) => historyUpdateFrame({ ids: ids.map(encodeId), updateTime }, position));
  }
  return made;
}

// --- the wire form -----------------------------------------------------------------------------------------------------

export function historyUpdateFrame(update: HistoryUpdate, position: Position): Frame {
  return new Frame(EVENT, frameText(EVENT, writeHistoryUpdate(update), position), position, MERGE, update);
}

export function writeHistoryUpdate({ ids, updateTime }: HistoryUpdate): string {
  const list = `{"history_ids":${JSON.stringify(ids)}`;
  return updateTime === undefined ? `${list}}` : `${list},"update_time":"${formatIso(updateTime)}"}`;
}

/** As a client reads it. @throws FieldError, SyntaxError */
export function readHistoryUpdate(data: string): HistoryUpdate {
  const value: unknown = JSON.parse(data);
  if (!isRecord(value) || !Array.isArray(value.history_ids)) throw new FieldError('history_ids is missing');
  const updateTime = absent(value.update_time) ? undefined : moment('update_time', value.update_time);
  return { ids: value.history_ids, updateTime };
}

interface Waiting {
  ids: Set<string>;
  updateTime: Micros | undefined;
}

/** Two waiting events become one with the ids of both. */
const MERGE: MergeRule<HistoryUpdate, Waiting> = {
  begin: ({ ids, updateTime }) => ({ ids: new Set(ids), updateTime }),
  add(waiting, { ids, updateTime }) {
    for (const id of ids) waiting.ids.add(id);
    if (updateTime !== undefined) waiting.updateTime = Math.max(waiting.updateTime ?? 0, updateTime);
    return waiting.ids.size <= MAX_MERGED_IDS;
  },
  frame: ({ ids, updateTime }, position) => historyUpdateFrame({ ids: [...ids], updateTime }, position),
};
