/** "Your interactive tools changed." The event has no data. */
import type { EntryPointUpdateTask } from '../core/events.js';
import { optionalEventId, owner } from './fields.js';
import { type EventId, Frame, frameText, type MergeRule } from './frame.js';
import { type EventKind, type FrameMaker, readByOwner, START_OVER } from './kind.js';
import type { JsonValue } from './python-json.js';

const EVENT = 'entry_point_update';
/** Takes the place of a history id in the recent log. */
const SUBJECT = 0;

export const entryPointUpdate: EventKind<EntryPointUpdateTask> = {
  event: EVENT,
  audience: 'the user, or the session of an anonymous owner',
  data: '`{}`',

  task: {
    name: EVENT,
    read: (kwargs) => optionalEventId<EntryPointUpdateTask>({ task: EVENT, ...owner(kwargs) }, kwargs),
    write({ userId, sessionId, eventId }) {
      const kwargs = new Map<string, JsonValue>();
      if (userId !== undefined) kwargs.set('user_id', userId);
      if (eventId !== undefined) kwargs.set('event_id', eventId);
      if (sessionId !== undefined) kwargs.set('session_id', sessionId);
      return kwargs;
    },
  },

  deliver({ userId, sessionId }, streams) {
    const at = streams.recordingTime();
    if (userId !== undefined) streams.rememberUser(userId, SUBJECT, at, 0);
    if (sessionId !== undefined) streams.rememberSession(sessionId, SUBJECT, at, 0);
    const frames = [entryPointFrame(streams.eventId)];
    if (userId !== undefined) streams.toUser(userId, frames);
    else if (sessionId !== undefined) streams.toSession(sessionId, frames);
    return undefined;
  },

  catchUp: {
    fromMemory: ({ subjects }) => makers(subjects.has(SUBJECT)),
    async fromDatabase(question, { changeLog, jointly }) {
      const { userId, sessionId } = question.principal;
      if (userId === undefined && sessionId === undefined) return [];
      if (question.since === START_OVER) return makers(true);
      const found = await jointly(EVENT, question, ({ since, ...joint }) =>
        readByOwner(joint, async (owner) => [await changeLog.entryPointOwnersSince(since, owner)]),
      );
      return makers(
        found.some(
          ({ userIds, sessionIds }) =>
            (userId !== undefined && userIds.includes(userId)) ||
            (sessionId !== undefined && sessionIds.includes(sessionId)),
        ),
      );
    },
  },

  async repair({ changeLog }, { floor: since }) {
    const { userIds, sessionIds } = await changeLog.entryPointOwnersSince(since, { kind: 'all' });
    return [...userIds.map((userId) => ({ userId })), ...sessionIds.map((sessionId) => ({ sessionId }))].map(
      (who) => ({ task: EVENT, ...who }) as const,
    );
  },

  remembers: SUBJECT,

  // The times of these changes are unknown. A later time causes duplicates, never losses.
  async preload({ changeLog }, { floor: since, now }) {
    const { userIds, sessionIds } = await changeLog.entryPointOwnersSince(since, { kind: 'all' });
    return [...userIds.map((userId) => ({ userId })), ...sessionIds.map((sessionId) => ({ sessionId }))].map(
      (who) => ({ owner: who, subject: SUBJECT, at: now, updateTime: 0 }),
    );
  },
};

const makers = (changed: boolean): FrameMaker[] => (changed ? [entryPointFrame] : []);

export const entryPointFrame = (eventId: EventId): Frame =>
  new Frame(EVENT, frameText(EVENT, '{}', eventId), eventId, MERGE, undefined);

/** A second event adds nothing. */
const MERGE: MergeRule<undefined, undefined> = {
  begin: () => undefined,
  add: () => true,
  frame: (_, position) => entryPointFrame(position),
};
