/** "These histories changed." From the monitor to the owner, the sessions of an anonymous history, and its viewers. */
import type { HistoryId, HistoryUpdateTask, Micros, SessionId, UserId } from '../core/events.js';
import { toTasks } from '../core/history-tasks.js';
import { formatIso } from '../lib/time.js';
import { FieldError, idMap, isAbsent, isRecord, moment, optionalEventId } from './fields.js';
import { type EventId, Frame, frameText, type MergeRule } from './frame.js';
import { changesFor, memoriesOf, missedSince } from './history-log.js';
import type { EventKind, FrameMaker, OpenStream, OpenStreams } from './kind.js';
import type { JsonValue } from './python-json.js';
import { olderSince, type SinceToken } from './since.js';

const EVENT = 'history_update';
/** Maximum number of histories in a frame. */
const MAX_IDS_PER_FRAME = 500;
/** Maximum number of ids in a waiting event; beyond it the database keeps them better. */
const MAX_MERGED_IDS = 500;

export interface HistoryUpdate {
  /** Encoded ids. */
  readonly ids: readonly string[];
  readonly updateTime: Micros | undefined;
  /** One for all ids, or one for each; undefined if no positions are known. */
  readonly since?: SinceToken | ReadonlyMap<string, SinceToken>;
}

export const historyUpdate: EventKind<HistoryUpdateTask> = {
  event: EVENT,
  audience: 'the owner; the session of an anonymous history; viewers',
  data: '`{"history_ids":["<encoded>",…],"update_time":"<newest audit time>","since":{"<encoded>":"<position>",…}}`',

  task: {
    name: EVENT,
    // A worker reads this task most, usually for tabs elsewhere. It sets optional fields directly, because a spread
    // costs more.
    read(kwargs) {
      const { user_updates, session_updates, update_time, update_times } = kwargs;
      if (isAbsent(user_updates) && isAbsent(session_updates)) {
        throw new FieldError('user_updates and session_updates are both missing');
      }
      const task: HistoryUpdateTask = {
        task: EVENT,
        userUpdates: idMap('user_updates', user_updates),
        sessionUpdates: idMap('session_updates', session_updates),
      };
      if (!isAbsent(update_time)) task.updateTime = moment('update_time', update_time);
      if (!isAbsent(update_times)) task.earlier = earlierTimes(update_times);
      return optionalEventId(task, kwargs);
    },
    write({ userUpdates, sessionUpdates, eventId, updateTime, earlier }) {
      const kwargs = new Map<string, JsonValue>([['user_updates', userUpdates]]);
      if (eventId !== undefined) kwargs.set('event_id', eventId);
      if (sessionUpdates.size > 0) kwargs.set('session_updates', sessionUpdates);
      if (updateTime !== undefined) kwargs.set('update_time', formatIso(updateTime));
      if (earlier !== undefined)
        kwargs.set('update_times', new Map([...earlier].map(([id, micros]) => [String(id), micros])));
      return kwargs;
    },
  },

  deliver(task, streams) {
    const { userUpdates, sessionUpdates, updateTime } = task;
    let delivered = false;
    const at = streams.recordingTime(updateTime);
    for (const [userId, historyIds] of userUpdates) {
      for (const id of historyIds) streams.rememberUser(userId, id, at, timeOf(task, id));
      if (!streams.hasUser(userId)) continue;
      streams.toUser(userId, historyFrames(historyIds, newestOf(task, historyIds), streams));
      delivered = true;
    }
    for (const [sessionId, historyIds] of sessionUpdates) {
      for (const id of historyIds) streams.rememberSession(sessionId, id, at, timeOf(task, id));
      if (!streams.hasSession(sessionId)) continue;
      streams.toSession(sessionId, historyFrames(historyIds, newestOf(task, historyIds), streams));
      delivered = true;
    }
    if (streams.hasViewers && toViewers(task, streams)) delivered = true;
    return delivered ? updateTime : undefined;
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
      const found = await reads.jointly(EVENT, question, (joint) => changesFor(joint, reads.changeLog));
      const changes = found.filter(
        (change) =>
          // The rest was read for another tab of this caller, with an older cursor.
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

  repair: async ({ changeLog }, since) => toTasks(await missedSince(changeLog, since)),
  remembers: 'histories',

  preload: ({ changeLog }, before) => memoriesOf(changeLog, before),
};

/** Delivers to viewers. A stream that received the event as its owner's does not receive it again. */
function toViewers(task: HistoryUpdateTask, streams: OpenStreams): boolean {
  const { userUpdates, sessionUpdates } = task;
  const changed = new Set<HistoryId>();
  for (const ids of userUpdates.values()) for (const id of ids) changed.add(id);
  for (const ids of sessionUpdates.values()) for (const id of ids) changed.add(id);
  const wasTold = (userId: UserId | undefined, sessionId: SessionId | undefined, historyId: HistoryId) =>
    (userId !== undefined && userUpdates.get(userId)?.includes(historyId)) ||
    (sessionId !== undefined && sessionUpdates.get(sessionId)?.includes(historyId));
  const idsByStream = new Map<OpenStream, Set<HistoryId>>();
  for (const historyId of changed) {
    for (const stream of streams.viewersOf(historyId)) {
      if (wasTold(stream.principal.userId, stream.principal.sessionId, historyId)) continue;
      const ids = idsByStream.get(stream);
      if (ids) ids.add(historyId);
      else idsByStream.set(stream, new Set([historyId]));
    }
  }
  for (const [stream, ids] of idsByStream) {
    streams.to(stream, historyFrames([...ids], newestOf(task, [...ids]), streams));
  }
  return idsByStream.size > 0;
}

/** Frames for these histories; several frames if there are many. */
export function historyFrames(
  historyIds: readonly HistoryId[],
  updateTime: Micros | undefined,
  { eventId, encodeId }: Pick<OpenStreams, 'eventId' | 'encodeId'>,
  since: SinceToken = eventId.since,
): Frame[] {
  const frames: Frame[] = [];
  for (let start = 0; start < historyIds.length; start += MAX_IDS_PER_FRAME) {
    const ids = historyIds.slice(start, start + MAX_IDS_PER_FRAME).map(encodeId);
    frames.push(historyUpdateFrame({ ids, updateTime, since }, eventId));
  }
  return frames;
}

function makers(historyIds: HistoryId[], newest: Micros): FrameMaker[] {
  const startOver = newest === Number.POSITIVE_INFINITY;
  const updateTime = newest === 0 || startOver ? undefined : newest;
  historyIds.sort((a, b) => a - b);
  const made: FrameMaker[] = [];
  for (let start = 0; start < historyIds.length; start += MAX_IDS_PER_FRAME) {
    const ids = historyIds.slice(start, start + MAX_IDS_PER_FRAME);
    made.push((position, encodeId, since) =>
      historyUpdateFrame({ ids: ids.map(encodeId), updateTime, since: startOver ? null : since }, position),
    );
  }
  return made;
}

const timeOf = ({ updateTime = 0, earlier }: HistoryUpdateTask, id: HistoryId): Micros =>
  updateTime - (earlier?.get(id) ?? 0);

/** The newest time of these histories only: others in the task may belong to other users. */
function newestOf(task: HistoryUpdateTask, historyIds: readonly HistoryId[]): Micros | undefined {
  const { updateTime, earlier } = task;
  if (updateTime === undefined || earlier === undefined) return updateTime;
  return historyIds.reduce((newest, id) => Math.max(newest, timeOf(task, id)), 0);
}

function earlierTimes(value: unknown): ReadonlyMap<HistoryId, Micros> {
  if (!isRecord(value)) throw new FieldError('update_times is not an object');
  return new Map(
    Object.entries(value).map(([id, micros]) => {
      if (!/^\d{1,15}$/.test(id) || !Number.isSafeInteger(micros) || (micros as number) < 0) {
        throw new FieldError('update_times is not a map of history id to microseconds');
      }
      return [Number(id), micros as number];
    }),
  );
}

// --- the wire form -----------------------------------------------------------------------------------------------------

export function historyUpdateFrame(update: HistoryUpdate, eventId: EventId): Frame {
  return new Frame(EVENT, frameText(EVENT, writeHistoryUpdate(update), eventId), eventId, MERGE, update);
}

export function writeHistoryUpdate({ ids, updateTime, since }: HistoryUpdate): string {
  let text = `{"history_ids":${JSON.stringify(ids)}`;
  if (updateTime !== undefined) text += `,"update_time":"${formatIso(updateTime)}"`;
  if (since !== undefined) {
    const tokenOf = (id: string) => (since instanceof Map ? since.get(id) : since);
    const entries = ids.flatMap((id) => {
      const token = tokenOf(id);
      return token === undefined ? [] : `"${id}":${token === null ? 'null' : `"${token}"`}`;
    });
    text += `,"since":{${entries.join(',')}}`;
  }
  return `${text}}`;
}

/** Parses the event as a client does. @throws FieldError, SyntaxError */
export function readHistoryUpdate(data: string): HistoryUpdate {
  const value: unknown = JSON.parse(data);
  if (!isRecord(value) || !Array.isArray(value.history_ids)) throw new FieldError('history_ids is missing');
  const updateTime = isAbsent(value.update_time) ? undefined : moment('update_time', value.update_time);
  const since = isRecord(value.since)
    ? new Map(
        Object.entries(value.since).map(([id, token]) => [id, typeof token === 'string' ? token : null]),
      )
    : undefined;
  return { ids: value.history_ids, updateTime, since };
}

interface Waiting {
  /** Each with its oldest position. */
  ids: Map<string, SinceToken>;
  updateTime: Micros | undefined;
}

const sinceOf = ({ since }: HistoryUpdate, id: string): SinceToken =>
  since instanceof Map ? since.get(id) : (since as SinceToken);

/** Two waiting events merge into one with the ids of both. */
const MERGE: MergeRule<HistoryUpdate, Waiting> = {
  begin: (update) => ({
    ids: new Map(update.ids.map((id) => [id, sinceOf(update, id)])),
    updateTime: update.updateTime,
  }),
  add(waiting, update) {
    const { ids, updateTime } = update;
    for (const id of ids) {
      const since = sinceOf(update, id);
      waiting.ids.set(id, waiting.ids.has(id) ? olderSince(waiting.ids.get(id), since) : since);
    }
    if (updateTime !== undefined) waiting.updateTime = Math.max(waiting.updateTime ?? 0, updateTime);
    return waiting.ids.size <= MAX_MERGED_IDS;
  },
  frame({ ids, updateTime }, position) {
    const known = [...ids.values()].some((since) => since !== undefined);
    return historyUpdateFrame({ ids: [...ids.keys()], updateTime, since: known ? ids : undefined }, position);
  },
};
