/** The state of notifications and broadcasts for a reconnecting tab: one event instead of all missed ones. */
import { eventFrame } from './frame.js';
import type { CatchUpKind } from './kind.js';

export const notificationStatus: CatchUpKind = {
  event: 'notification_status',
  audience: 'a reconnecting tab, before any other event',
  data: '`{"total_unread_count":n,"notifications":[…],"broadcasts":[…]}`',
  catchUp: {
    fromMemory: 'never',
    async fromDatabase(question, reads) {
      const status = await reads.status(question);
      if (status === undefined) return [];
      return [(position) => eventFrame('notification_status', status, position)];
    },
  },
};
