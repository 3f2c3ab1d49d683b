/** "Your interactive tools changed." It says nothing but that. */
import type { EntryPointUpdateTask } from '../core/events.js';
import { optionalEventId, owner } from './fields.js';
import { Frame, frameText, type MergeRule, type Position } from './frame.js';
import type { EventKind, FrameMaker } from './kind.js';
import type { JsonValue } from './python-json.js';

const EVENT = 'entry_point_update';
/** Stands in the place of a history id in the recent log. */
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
    const frames = [entryPointFrame(streams.position)];
    if (userId !== undefined) streams.toUser(userId, frames);
    else if (sessionId !== undefined) streams.toSession(sessionId, frames);
    return undefined;
  },

  catchUp: {
    fromMemory: ({ subjects }) => makers(subjects.has(SUBJECT)),
    async fromDatabase({ principal: { userId, sessionId }, since }, { changeLog, shared }) {
      const owners = await Promise.all([
        userId !== undefined &&
          shared(`entry points u${userId}@${since}`, () =>
            changeLog.entryPointOwnersSince(since, { kind: 'user', userId }),
          ),
        sessionId !== undefined &&
          shared(`entry points s${sessionId}@${since}`, () =>
            changeLog.entryPointOwnersSince(since, { kind: 'session', sessionId }),
          ),
      ]);
      return makers(owners.some((found) => found && found.userIds.length + found.sessionIds.length > 0));
    },
  },

  async repair({ changeLog }, since) {
    const { userIds, sessionIds } = await changeLog.entryPointOwnersSince(since, { kind: 'all' });
    return [...userIds.map((userId) => ({ userId })), ...sessionIds.map((sessionId) => ({ sessionId }))].map(
      (who) => ({ task: EVENT, ...who }) as const,
    );
  },

  // When exactly they changed is not asked for: told too late is told too often, never too seldom.
  async preload({ changeLog }, since, now) {
    const { userIds, sessionIds } = await changeLog.entryPointOwnersSince(since, { kind: 'all' });
    return [...userIds.map((userId) => ({ userId })), ...sessionIds.map((sessionId) => ({ sessionId }))].map(
      (who) => ({ owner: who, subject: SUBJECT, at: now, updateTime: 0 }),
    );
  },
};

const makers = (changed: boolean): FrameMaker[] => (changed ? [entryPointFrame] : []);

export const entryPointFrame = (position: Position): Frame =>
  new Frame(EVENT, frameText(EVENT, '{}', position), position, MERGE, undefined);

/** A second one says nothing new. */
const MERGE: MergeRule<undefined, undefined> = {
  begin: () => undefined,
  add: () => true,
  frame: (_, position) => entryPointFrame(position),
};
