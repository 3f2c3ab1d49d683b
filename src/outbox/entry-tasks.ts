import type { ControlTask, UserId } from '../core/events.js';
import type { NotificationDelivery } from '../database/port.js';
import type { ClaimedEntry } from './outbox.js';

/** Bounds the size of a message on the bus. */
const RECIPIENTS_PER_TASK = 1000;

/** The current state of a notification in the database; see `SqlNotificationLog`. */
export interface NotificationSource {
  deliveryOf(id: number): Promise<(NotificationDelivery & { broadcast: boolean }) | undefined>;
  ownForms(userId: UserId, ids: readonly number[]): Promise<string[]>;
}

/** The control tasks of an entry; none if its subject is deleted, expired or not published yet. */
export async function tasksOf(
  entry: ClaimedEntry['entry'],
  source: NotificationSource,
  encodeId: (id: number) => string,
): Promise<ControlTask[]> {
  switch (entry.kind) {
    case 'notification': {
      const delivery = await source.deliveryOf(entry.id);
      return delivery ? deliveryTasks(delivery) : [];
    }
    case 'own_notifications': {
      const payloads = await source.ownForms(entry.userId, entry.ids);
      return payloads.map((payload) => ({ task: 'notify_users', userIds: [entry.userId], payload }));
    }
    case 'permissions': {
      const { sessionId, historyId } = entry;
      return [
        {
          task: 'permissions_changed',
          ...(sessionId !== undefined && { sessionId }),
          ...(historyId !== undefined && { historyId: encodeId(historyId) }),
        },
      ];
    }
    case 'unreadable':
      throw new SyntaxError(`not an entry of the outbox: ${entry.text.slice(0, 200)}`);
    case 'entry_points': {
      const { userId, sessionId } = entry;
      return [
        {
          task: 'entry_point_update',
          ...(userId !== undefined && { userId }),
          ...(sessionId !== undefined && { sessionId }),
        },
      ];
    }
  }
}

function deliveryTasks({
  broadcast,
  payload,
  userIds,
}: NotificationDelivery & { broadcast: boolean }): ControlTask[] {
  if (broadcast) return [{ task: 'notify_broadcast', payload }];
  const tasks: ControlTask[] = [];
  for (let start = 0; start < userIds.length; start += RECIPIENTS_PER_TASK) {
    tasks.push({
      task: 'notify_users',
      userIds: userIds.slice(start, start + RECIPIENTS_PER_TASK),
      payload,
    });
  }
  return tasks;
}
