/** What a returning tab has to know of notifications and broadcasts: one event instead of all that were missed. */
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
