/** Notification rows and their JSON (contract, sections 3.4 and 4.3). */
import { formatIso, parseSql } from '../lib/time.js';
import { isDue, utcNow } from './dialect.js';
import { type Dialect, type SqlRow, toBoolean } from './port.js';

export interface NotificationRow extends SqlRow {
  id: number;
  source: string | null;
  category: string | null;
  variant: string | null;
  create_time: string | null;
  update_time: string | null;
  publication_time: string | null;
  expiration_time: string | null;
  content: Buffer | string | null;
}

export interface UserNotificationRow extends NotificationRow {
  user_id: number;
  seen_time: string | null;
  deleted: unknown;
}

/** Columns of a `NotificationRow`, from `notification n`. */
export const NOTIFICATION_FIELDS = `n.id, n.source, n.category, n.variant, n.create_time, n.update_time,
  n.publication_time, n.expiration_time, n.content`;

/** Columns of a `UserNotificationRow`, from `notification n` and `user_notification_association a`. */
export const USER_NOTIFICATION_FIELDS = `a.user_id, n.id, n.source, n.category, n.variant, n.create_time,
  a.update_time, n.publication_time, n.expiration_time, n.content, a.seen_time, a.deleted`;

/** Published and not expired. A NULL in either column hides the row (contract, section 4.3). */
export function isActive(dialect: Dialect): string {
  return `${isDue(dialect, 'n.publication_time')} AND n.expiration_time > ${utcNow(dialect)}`;
}

export interface NotificationForm {
  id: string;
  source: string | null;
  category: string | null;
  variant: string | null;
  create_time: string | null;
  update_time: string | null;
  publication_time: string | null;
  expiration_time: string | null;
  content: unknown;
}

export interface UserNotificationForm extends NotificationForm {
  seen_time: string | null;
  deleted: boolean;
}

/** Keys in Galaxy's order (contract, section 4.3). @param encodeId row id to encoded id */
export function serializeNotification(
  row: NotificationRow,
  encodeId: (id: number) => string,
): NotificationForm {
  return {
    id: encodeId(row.id),
    source: row.source,
    category: row.category,
    variant: row.variant,
    create_time: isoOrNull(row.create_time),
    update_time: isoOrNull(row.update_time),
    publication_time: isoOrNull(row.publication_time),
    expiration_time: isoOrNull(row.expiration_time),
    content: parseContent(row.content),
  };
}

export function serializeUserNotification(
  row: UserNotificationRow,
  encodeId: (id: number) => string,
): UserNotificationForm {
  return {
    ...serializeNotification(row, encodeId),
    seen_time: isoOrNull(row.seen_time),
    deleted: toBoolean(row.deleted),
  };
}

export const isoOrNull = (text: string | null): string | null =>
  text === null ? null : formatIso(parseSql(text));

/** An object; in very old rows and edited broadcasts, an object as JSON text inside JSON. */
function parseContent(content: Buffer | string | null): unknown {
  if (content === null) return null;
  try {
    const once: unknown = JSON.parse(content.toString());
    return typeof once === 'string' ? JSON.parse(once) : once;
  } catch {
    // One unreadable row must not hide the others.
    return null;
  }
}
