/** Schemas of the replies about notifications, for the OpenAPI document. */
import { Type } from 'typebox';
import { ID, orNull, TIME } from '../../http/describe-route.js';

const textOrNull = orNull(Type.String());
const count = Type.Integer({ minimum: 0 });

const fields = {
  id: ID,
  source: textOrNull,
  category: textOrNull,
  variant: textOrNull,
  create_time: orNull(TIME),
  update_time: orNull(TIME),
  publication_time: orNull(TIME),
  expiration_time: orNull(TIME),
  content: Type.Unsafe<unknown>(
    orNull(Type.Object({}, { description: 'By category: subject and message, or the shared item' })),
  ),
};
const EXAMPLE = {
  id: 'f2db41e1fa331b3e',
  source: 'admin',
  category: 'broadcast',
  variant: 'warning',
  create_time: '2026-07-01T12:00:00.000000',
  update_time: '2026-07-01T12:00:00.000000',
  publication_time: '2026-07-01T12:00:00.000000',
  expiration_time: '2026-12-28T12:00:00.000000',
  content: { subject: 'Maintenance', message: 'at noon', category: 'broadcast' },
};

/** A broadcast, or a notification for its sender. */
export const notification = Type.Object(fields, { title: 'Notification', examples: [EXAMPLE] });
/** A notification for its recipient. */
export const userNotification = Type.Object(
  { ...fields, seen_time: orNull(TIME), deleted: Type.Boolean() },
  {
    title: 'UserNotification',
    examples: [
      {
        ...EXAMPLE,
        category: 'message',
        variant: 'info',
        content: { subject: 'Hello', message: 'in **Markdown**', category: 'message' },
        seen_time: null,
        deleted: false,
      },
    ],
  },
);

export const sent = Type.Union([
  Type.Object(
    { total_notifications_sent: count, notification },
    { title: 'Sent', examples: [{ total_notifications_sent: 1, notification: EXAMPLE }] },
  ),
  Type.Object(
    { total_notifications_sent: count, notifications: Type.Array(notification) },
    { title: 'SentSeveral', examples: [{ total_notifications_sent: 2, notifications: [EXAMPLE, EXAMPLE] }] },
  ),
]);
export const sentBroadcast = Type.Object(
  { total_notifications_sent: Type.Literal(1), notification },
  { title: 'SentBroadcast', examples: [{ total_notifications_sent: 1, notification: EXAMPLE }] },
);
export const updated = Type.Object(
  { updated_count: count },
  { title: 'UpdatedCount', examples: [{ updated_count: 1 }] },
);

/** Already serialized. */
export const status = Type.Unsafe<string>(
  Type.Object(
    {
      total_unread_count: count,
      notifications: Type.Array(userNotification),
      broadcasts: Type.Array(notification),
    },
    {
      title: 'NotificationStatus',
      examples: [{ total_unread_count: 0, notifications: [], broadcasts: [EXAMPLE] }],
    },
  ),
);

export const preferences = Type.Object(
  {
    preferences: Type.Record(
      Type.String(),
      Type.Object({
        enabled: Type.Boolean(),
        channels: Type.Object({ push: Type.Boolean(), email: Type.Boolean() }),
      }),
    ),
  },
  {
    title: 'NotificationPreferences',
    examples: [{ preferences: { message: { enabled: true, channels: { push: true, email: true } } } }],
  },
);
