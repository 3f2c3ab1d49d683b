/** A notification for its recipients. It has an identity of its own, so two never merge. */
import type { NotifyUsersTask } from '../core/events.js';
import { idList, optionalEventId, payload } from './fields.js';
import { eventFrame } from './frame.js';
import type { EventKind } from './kind.js';
import type { JsonValue } from './python-json.js';

const TASK = 'notify_users';

export const notificationUpdate: EventKind<NotifyUsersTask> = {
  event: 'notification_update',
  audience: 'the recipients of the notification',
  data: 'the notification as JSON',

  task: {
    name: TASK,
    read: (kwargs) =>
      optionalEventId<NotifyUsersTask>(
        { task: TASK, userIds: idList('user_ids', kwargs.user_ids), payload: payload(kwargs) },
        kwargs,
      ),
    write({ userIds, payload: text, eventId }) {
      const kwargs = new Map<string, JsonValue>([
        ['user_ids', userIds],
        ['payload', text],
      ]);
      if (eventId !== undefined) kwargs.set('event_id', eventId);
      return kwargs;
    },
  },

  deliver({ userIds, payload: text }, streams) {
    const recipients = userIds.filter((userId) => streams.hasUser(userId));
    if (recipients.length === 0) return undefined;
    const frames = [eventFrame('notification_update', text, streams.eventId)];
    for (const userId of recipients) streams.toUser(userId, frames);
    return undefined;
  },

  /** `notification_status` covers it. */
  catchUp: 'never',
  repair: async ({ notifications }, { floor: since }) =>
    ((await notifications?.notificationsSince(since)) ?? []).map(({ payload: text, userIds }) => ({
      task: TASK,
      userIds,
      payload: text,
    })),
  remembers: 'never',
  preload: 'never',
};
