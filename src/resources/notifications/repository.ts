/** Statements on notifications; the manager has the rules. */
import type { UserId } from '../../core/events.js';
import { utcNow } from '../../database/dialect.js';
import {
  isActive,
  NOTIFICATION_FIELDS,
  type NotificationRow,
  USER_NOTIFICATION_FIELDS,
  type UserNotificationRow,
} from '../../database/notification-forms.js';
import { loadPreferences, wants } from '../../database/notification-preferences.js';
import type { Sql, SqlValue } from '../../database/port.js';
import { formatSql, type Micros } from '../../lib/time.js';

/** Recipients per statement. */
const RECIPIENTS_PER_INSERT = 1_000;

export interface NewNotification {
  source: string;
  category: string;
  variant: string;
  content: object;
  publicationTime: Micros;
  expirationTime: Micros;
}

export async function insertNotification(sql: Sql, row: NewNotification): Promise<NotificationRow> {
  const now = utcNow(sql.dialect);
  const [made] = await sql.all<NotificationRow>(
    `INSERT INTO notification (create_time, update_time, publication_time, expiration_time, source, category,
                               variant, dispatched, content)
     VALUES (${now}, ${now}, $1, $2, $3, $4, $5, true, $6)
     RETURNING id, source, category, variant, create_time, update_time, publication_time, expiration_time, content`,
    [
      formatSql(row.publicationTime),
      formatSql(row.expirationTime),
      row.source,
      row.category,
      row.variant,
      Buffer.from(JSON.stringify(row.content)),
    ],
  );
  return made!;
}

/** @returns the number of recipients: all who did not opt out of the category */
export async function addRecipients(
  sql: Sql,
  row: NotificationRow,
  userIds: readonly UserId[],
): Promise<number> {
  let given = 0;
  for (let start = 0; start < userIds.length; start += RECIPIENTS_PER_INSERT) {
    const batch = userIds.slice(start, start + RECIPIENTS_PER_INSERT);
    const preferences = await loadPreferences(sql, batch);
    const willing = batch.filter((userId) => wants(preferences.get(userId), row));
    given += await sql.run(
      `INSERT INTO user_notification_association (user_id, notification_id, deleted, update_time)
       SELECT u.id, ${Number(row.id)}, false, ${utcNow(sql.dialect)}
         FROM galaxy_user u WHERE ${sql.isOneOf('u.id', 1)}`,
      [sql.list(willing)],
    );
  }
  return given;
}

/** The given ids that are no user, group or role. */
export async function missingIds(
  sql: Sql,
  table: 'galaxy_user' | 'galaxy_group' | 'role',
  ids: readonly number[],
): Promise<number[]> {
  if (ids.length === 0) return [];
  const rows = await sql.all<{ id: number }>(`SELECT id FROM ${table} WHERE ${sql.isOneOf('id', 1)}`, [
    sql.list(ids),
  ]);
  const known = new Set(rows.map((row) => row.id));
  return ids.filter((id) => !known.has(id));
}

/** All recipients, once each, without deleted users, groups and roles. */
export async function resolveRecipients(
  sql: Sql,
  to: { userIds: readonly number[]; groupIds: readonly number[]; roleIds: readonly number[] },
): Promise<UserId[]> {
  const rows = await sql.all<{ id: number }>(
    `SELECT u.id FROM galaxy_user u
      WHERE (u.deleted IS NULL OR u.deleted = false)
        AND (${sql.isOneOf('u.id', 1)}
          OR u.id IN (SELECT g.user_id FROM user_group_association g JOIN galaxy_group x ON x.id = g.group_id
                       WHERE (x.deleted IS NULL OR x.deleted = false) AND ${sql.isOneOf('g.group_id', 2)})
          OR u.id IN (SELECT r.user_id FROM user_role_association r JOIN role x ON x.id = r.role_id
                       WHERE (x.deleted IS NULL OR x.deleted = false) AND ${sql.isOneOf('r.role_id', 3)}))
      ORDER BY u.id`,
    [sql.list(to.userIds), sql.list(to.groupIds), sql.list(to.roleIds)],
  );
  return rows.map((row) => row.id);
}

const OWN = (sql: Sql, condition: string): string =>
  `SELECT ${USER_NOTIFICATION_FIELDS}
     FROM user_notification_association a JOIN notification n ON n.id = a.notification_id
    WHERE a.user_id = $1 AND (a.deleted IS NULL OR a.deleted = false) AND ${isActive(sql.dialect)}
      ${condition}`;

/** Newest first. */
export const listOwn = (
  sql: Sql,
  userId: UserId,
  { limit, offset }: { limit: number; offset: number },
): Promise<UserNotificationRow[]> =>
  sql.all(OWN(sql, 'ORDER BY n.publication_time DESC, n.id DESC LIMIT $2 OFFSET $3'), [
    userId,
    limit,
    offset,
  ]);

export async function findOwn(
  sql: Sql,
  userId: UserId,
  id: number,
): Promise<UserNotificationRow | undefined> {
  const [row] = await sql.all<UserNotificationRow>(OWN(sql, 'AND n.id = $2'), [userId, id]);
  return row;
}

/** @returns the ids of the marked notifications */
export async function markOwn(
  sql: Sql,
  userId: UserId,
  ids: readonly number[],
  { seen, deleted }: { seen?: boolean | undefined; deleted?: boolean | undefined },
): Promise<number[]> {
  const now = utcNow(sql.dialect);
  const assignments = [`update_time = ${now}`];
  const params: SqlValue[] = [userId, sql.list(ids)];
  // The time of the first look is kept.
  if (seen !== undefined) assignments.push(`seen_time = ${seen ? `coalesce(seen_time, ${now})` : 'NULL'}`);
  if (deleted !== undefined) {
    params.push(deleted);
    assignments.push('deleted = $3');
  }
  const rows = await sql.all<{ notification_id: number }>(
    `UPDATE user_notification_association SET ${assignments.join(', ')}
      WHERE user_id = $1 AND ${sql.isOneOf('notification_id', 2)} AND (deleted IS NULL OR deleted = false)
        AND notification_id IN (SELECT n.id FROM notification n WHERE ${isActive(sql.dialect)})
      RETURNING notification_id`,
    params,
  );
  return rows.map((row) => row.notification_id);
}

/** Newest first. @param everything also unpublished and expired ones */
export const listBroadcasts = (sql: Sql, everything: boolean): Promise<NotificationRow[]> =>
  sql.all(
    `SELECT ${NOTIFICATION_FIELDS} FROM notification n
      WHERE n.category = 'broadcast' ${everything ? '' : `AND ${isActive(sql.dialect)}`}
      ORDER BY n.publication_time DESC, n.id DESC`,
  );

export async function findBroadcast(
  sql: Sql,
  id: number,
  everything: boolean,
): Promise<NotificationRow | undefined> {
  const [row] = await sql.all<NotificationRow>(
    `SELECT ${NOTIFICATION_FIELDS} FROM notification n
      WHERE n.category = 'broadcast' AND n.id = $1 ${everything ? '' : `AND ${isActive(sql.dialect)}`}`,
    [id],
  );
  return row;
}

export async function updateBroadcast(
  sql: Sql,
  id: number,
  change: { [Key in keyof Omit<NewNotification, 'category'>]?: NewNotification[Key] | undefined },
): Promise<void> {
  const columns: [string, SqlValue][] = [];
  if (change.source !== undefined) columns.push(['source', change.source]);
  if (change.variant !== undefined) columns.push(['variant', change.variant]);
  if (change.content !== undefined) {
    columns.push(['content', Buffer.from(JSON.stringify(change.content))]);
  }
  if (change.publicationTime !== undefined) {
    columns.push(['publication_time', formatSql(change.publicationTime)]);
  }
  if (change.expirationTime !== undefined) {
    columns.push(['expiration_time', formatSql(change.expirationTime)]);
  }
  const assignments = columns.map(([name], index) => `${name} = $${index + 2}`);
  await sql.run(
    `UPDATE notification SET ${[...assignments, `update_time = ${utcNow(sql.dialect)}`].join(', ')} WHERE id = $1`,
    [id, ...columns.map(([, value]) => value)],
  );
}

export async function writePreference(sql: Sql, userId: UserId, name: string, value: string): Promise<void> {
  const changed = await sql.run('UPDATE user_preference SET value = $3 WHERE user_id = $1 AND name = $2', [
    userId,
    name,
    value,
  ]);
  if (changed > 0) return;
  await sql.run('INSERT INTO user_preference (user_id, name, value) VALUES ($1, $2, $3)', [
    userId,
    name,
    value,
  ]);
}
