/**
 * "Your write is out." It goes to the callers that requested it, after everything that became visible up to that write.
 */
import type { AwaitMarksTask } from '../core/events.js';
import { isMark } from '../database/log/write-mark.js';
import type { WriteMark } from '../database/port.js';
import { FieldError, owner } from './fields.js';
import { type EventId, eventFrame, type Frame } from './frame.js';
import type { EventKind } from './kind.js';
import type { JsonValue } from './python-json.js';

const EVENT = 'marks_reached';
const TASK = 'await_marks';

/** No merge rule: merging into a waiting event would overtake the events between them. */
export const marksReached: EventKind<AwaitMarksTask> = {
  event: EVENT,
  audience: 'the user or session that requested it with `POST /api/events/marks`',
  data: '`{"marks":["<mark>",…],"start_over":false}`',

  task: {
    name: TASK,
    read: (kwargs) => ({ task: TASK, marks: markList(kwargs.marks), ...owner(kwargs) }),
    write({ marks, userId, sessionId }) {
      const kwargs = new Map<string, JsonValue>([['marks', marks]]);
      if (userId !== undefined) kwargs.set('user_id', userId);
      if (sessionId !== undefined) kwargs.set('session_id', sessionId);
      return kwargs;
    },
  },

  deliver({ marks, userId, sessionId }, streams) {
    streams.awaitMarks(
      { ...(userId !== undefined && { userId }), ...(sessionId !== undefined && { sessionId }) },
      marks,
    );
    return undefined;
  },

  /** A waiting client requests again after each `ready`. */
  catchUp: 'never',
  repair: 'never',
  remembers: 'never',
  preload: 'never',
};

export const marksFrame = (marks: readonly WriteMark[], startOver: boolean, eventId: EventId): Frame =>
  eventFrame(EVENT, JSON.stringify({ marks, start_over: startOver }), eventId);

function markList(value: unknown): string[] {
  if (Array.isArray(value) && value.every((mark) => typeof mark === 'string' && isMark(mark))) return value;
  throw new FieldError('marks is not a list of write marks');
}
