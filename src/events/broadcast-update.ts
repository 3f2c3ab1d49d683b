/** A broadcast for every open stream. It has an identity of its own, so two never merge. */
import type { NotifyBroadcastTask } from '../core/events.js';
import { optionalEventId, payload } from './fields.js';
import { eventFrame } from './frame.js';
import type { EventKind } from './kind.js';
import type { JsonValue } from './python-json.js';

const TASK = 'notify_broadcast';

export const broadcastUpdate: EventKind<NotifyBroadcastTask> = {
  event: 'broadcast_update',
  audience: 'every open stream',
  data: 'the broadcast as JSON',

  task: {
    name: TASK,
    read: (kwargs) => optionalEventId<NotifyBroadcastTask>({ task: TASK, payload: payload(kwargs) }, kwargs),
    write({ payload: text, eventId }) {
      const kwargs = new Map<string, JsonValue>([['payload', text]]);
      if (eventId !== undefined) kwargs.set('event_id', eventId);
      return kwargs;
    },
  },

  deliver({ payload: text }, streams) {
    streams.toAll(eventFrame('broadcast_update', text, streams.eventId));
    return undefined;
  },

  /** `notification_status` covers it. */
  catchUp: 'never',
  repair: async ({ notifications }, { floor: since }) =>
    ((await notifications?.broadcastsSince(since)) ?? []).map(({ payload: text }) => ({
      task: TASK,
      payload: text,
    })),
  remembers: 'never',
  preload: 'never',
};
