import { type Static, Type } from 'typebox';
import { orNull } from '../../http/describe-route.js';
import { encodedIds, moment, text } from '../schemas.js';

/** Maximum number of recipient ids in one request; groups and roles may add more. */
const MAX_RECIPIENTS = 10_000;
const MAX_NOTIFICATIONS = 1_000;
const MAX_MARKED = 1_000;

export const variant = Type.Enum(['info', 'warning', 'urgent']);
const subjectAndMessage = { subject: text(1_000, 1), message: text(100_000, 1) };

const actionLink = Type.Object({ action_name: text(255, 1), link: text(2_000, 1) });

const broadcastContent = Type.Object({
  ...subjectAndMessage,
  category: Type.Optional(Type.Literal('broadcast')),
  action_links: Type.Optional(orNull(Type.Array(actionLink, { maxItems: 20 }))),
});

const count = Type.Integer({ minimum: 0 });

/** By category, as in Galaxy (contract, section 3.4); further keys are kept. */
export const CONTENTS = {
  message: Type.Object({ ...subjectAndMessage, category: Type.Optional(Type.Literal('message')) }),
  new_shared_item: Type.Object({
    category: Type.Optional(Type.Literal('new_shared_item')),
    item_type: Type.Enum(['history', 'workflow', 'visualization', 'page']),
    item_name: text(255),
    owner_name: text(255),
    slug: text(2_000),
  }),
  storage_operation: Type.Object({
    category: Type.Optional(Type.Literal('storage_operation')),
    ...subjectAndMessage,
    history_id: Type.Optional(text(64)),
    run_id: Type.Optional(text(64)),
    run_url: Type.Optional(orNull(text(2_000))),
    mode: Type.Optional(text(64)),
    state: Type.Optional(text(64)),
    total_count: Type.Optional(count),
    succeeded_count: Type.Optional(count),
    failed_count: Type.Optional(count),
    skipped_count: Type.Optional(count),
  }),
} as const;

export type UserCategory = keyof typeof CONTENTS;
export const USER_CATEGORIES = Object.keys(CONTENTS) as UserCategory[];

const times = {
  publication_time: Type.Optional(orNull(moment)),
  expiration_time: Type.Optional(orNull(moment)),
};

const notification = Type.Object({
  source: text(32, 1),
  category: Type.Enum(USER_CATEGORIES),
  variant,
  content: Type.Object(
    {},
    {
      additionalProperties: true,
      description: 'by category: subject and message, or the shared item',
      examples: [{ subject: 'Hello', message: 'in **Markdown**' }],
    },
  ),
  ...times,
});

const ids = Type.Optional(encodedIds(MAX_RECIPIENTS));

export const createBody = Type.Object(
  {
    recipients: Type.Object({ user_ids: ids, group_ids: ids, role_ids: ids }),
    notification: Type.Optional(notification),
    notifications: Type.Optional(
      Type.Array(notification, {
        minItems: 1,
        maxItems: MAX_NOTIFICATIONS,
        description: 'Lightcone only: several at once, instead of `notification`',
      }),
    ),
  },
  {
    examples: [
      {
        recipients: { user_ids: ['f2db41e1fa331b3e'] },
        notification: {
          source: 'admin',
          category: 'message',
          variant: 'info',
          content: { subject: 'Hello', message: 'in **Markdown**' },
        },
      },
    ],
  },
);

export const createBroadcastBody = Type.Object(
  {
    source: text(32, 1),
    variant,
    content: broadcastContent,
    category: Type.Optional(Type.Literal('broadcast')),
    ...times,
  },
  {
    examples: [
      { source: 'admin', variant: 'warning', content: { subject: 'Maintenance', message: 'at noon' } },
    ],
  },
);

export const updateBroadcastBody = Type.Object(
  {
    source: Type.Optional(text(32, 1)),
    variant: Type.Optional(variant),
    content: Type.Optional(broadcastContent),
    ...times,
  },
  { examples: [{ variant: 'urgent' }] },
);

export const changes = Type.Object(
  {
    seen: Type.Optional(orNull(Type.Boolean())),
    deleted: Type.Optional(orNull(Type.Boolean())),
  },
  { examples: [{ seen: true }] },
);

export const changeManyBody = Type.Object(
  { notification_ids: encodedIds(MAX_MARKED), changes },
  { examples: [{ notification_ids: ['f2db41e1fa331b3e'], changes: { seen: true } }] },
);
export const deleteManyBody = Type.Object(
  { notification_ids: encodedIds(MAX_MARKED) },
  { examples: [{ notification_ids: ['f2db41e1fa331b3e'] }] },
);

const preference = Type.Object({
  enabled: Type.Boolean(),
  channels: Type.Object({ push: Type.Boolean(), email: Type.Optional(Type.Boolean()) }),
});

export const preferencesBody = Type.Object(
  {
    preferences: Type.Record(Type.String({ pattern: `^(${USER_CATEGORIES.join('|')})$` }), preference, {
      additionalProperties: false,
    }),
  },
  { examples: [{ preferences: { message: { enabled: true, channels: { push: false, email: true } } } }] },
);

export type NotificationBody = Static<typeof notification>;
export type Changes = Static<typeof changes>;
