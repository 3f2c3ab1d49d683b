import type { Cursor, UserId } from '../core/events.js';
import { formatSql, parseSql } from '../lib/time.js';
import { askedByUser, sinceInclusive } from './dialect.js';
import {
  isActive,
  NOTIFICATION_FIELDS,
  type NotificationRow,
  serializeNotification,
  serializeUserNotification,
  USER_NOTIFICATION_FIELDS,
  type UserNotificationRow,
} from './notification-forms.js';
import { loadPreferences, wantsPush } from './notification-preferences.js';
import type { NotificationDelivery, NotificationLog, OnUnreadable, Sql, SqlValue } from './port.js';

/** A notification as JSON, with the moment for comparison with `since`. */
interface Dated {
  latest: Cursor;
  form: object;
}

/** Reads notifications as payloads of tasks and as the status object (contract, sections 3.4 and 4.3). */
export class SqlNotificationLog implements NotificationLog {
  readonly #active: string;

  /**
   * @param encodeId row id to encoded id
   * @param onUnreadable called with skipped rows
   */
  constructor(
    private readonly db: Sql,
    private readonly encodeId: (id: number) => string,
    private readonly onUnreadable: OnUnreadable = () => {},
  ) {
    this.#active = isActive(db.dialect);
  }

  notificationsSince(floor: Cursor): Promise<NotificationDelivery[]> {
    return this.#messages(publishedAfter(1), [formatSql(floor)]);
  }

  /** An edited broadcast counts as a new one. */
  broadcastsSince(floor: Cursor): Promise<NotificationDelivery[]> {
    return this.#broadcastDeliveries(`(${publishedAfter(1)} OR n.update_time > $1)`, [formatSql(floor)]);
  }

  /** The payload to push for this row now; undefined if it is not published yet, expired or deleted. */
  async deliveryOf(id: number): Promise<(NotificationDelivery & { broadcast: boolean }) | undefined> {
    const [message] = await this.#messages('n.id = $1', [id]);
    if (message) return { ...message, broadcast: false };
    const [broadcast] = await this.#broadcastDeliveries('n.id = $1', [id]);
    return broadcast && { ...broadcast, broadcast: true };
  }

  /** The user's own JSON of these notifications, including deleted ones, for the user's other tabs. */
  async ownForms(userId: UserId, ids: readonly number[]): Promise<string[]> {
    const rows = await this.db.all<UserNotificationRow>(
      `SELECT ${USER_NOTIFICATION_FIELDS}
         FROM user_notification_association a JOIN notification n ON n.id = a.notification_id
        WHERE a.user_id = $1 AND ${this.db.isOneOf('n.id', 2)} AND ${this.#active}
        ORDER BY n.id`,
      [userId, this.db.list(ids)],
    );
    return this.#readable(rows, (row) => JSON.stringify(serializeUserNotification(row, this.encodeId)));
  }

  /** Two statements, so that a long text is not read once per recipient. */
  async #messages(condition: string, params: readonly SqlValue[]): Promise<NotificationDelivery[]> {
    const rows = await this.db.all<NotificationRow>(
      `SELECT ${NOTIFICATION_FIELDS} FROM notification n
        WHERE n.category <> 'broadcast' AND ${this.#active} AND ${condition}
        ORDER BY n.id`,
      params,
    );
    if (rows.length === 0) return [];
    const recipients = await this.#recipientsOf(rows.map((row) => row.id));
    const preferences = await loadPreferences(this.db, [...new Set([...recipients.values()].flat())]);
    // The category was checked when the rows were created; the push channel counts at delivery.
    return this.#readable(rows, (row) => ({
      ...this.#delivery(row),
      userIds: (recipients.get(row.id) ?? []).filter((userId) => wantsPush(preferences.get(userId), row)),
    })).filter((delivery) => delivery.userIds.length > 0);
  }

  async #recipientsOf(ids: readonly number[]): Promise<Map<number, UserId[]>> {
    const rows = await this.db.all<{ notification_id: number; user_id: number }>(
      `SELECT a.notification_id, a.user_id FROM user_notification_association a
        WHERE ${this.db.isOneOf('a.notification_id', 1)} AND a.user_id IS NOT NULL
          AND (a.deleted IS NULL OR a.deleted = false)
        ORDER BY a.user_id`,
      [this.db.list(ids)],
    );
    const byNotification = new Map<number, UserId[]>();
    for (const { notification_id, user_id } of rows) {
      const users = byNotification.get(notification_id);
      if (users) users.push(user_id);
      else byNotification.set(notification_id, [user_id]);
    }
    return byNotification;
  }

  async #broadcastDeliveries(
    condition: string,
    params: readonly SqlValue[],
  ): Promise<NotificationDelivery[]> {
    const rows = await this.db.all<NotificationRow>(
      `SELECT ${NOTIFICATION_FIELDS} FROM notification n
        WHERE n.category = 'broadcast' AND ${this.#active} AND ${condition}
        ORDER BY n.id`,
      params,
    );
    return this.#readable(rows, (row) => this.#delivery(row));
  }

  /** One unreadable row must not hide the others. */
  #readable<Row extends NotificationRow, T>(rows: readonly Row[], read: (row: Row) => T): T[] {
    const skippedRows: number[] = [];
    let reason = '';
    const readable = rows.flatMap((row) => {
      try {
        return [read(row)];
      } catch (error) {
        skippedRows.push(row.id);
        reason = (error as Error).message;
        return [];
      }
    });
    if (skippedRows.length > 0) this.onUnreadable('notification', skippedRows, reason);
    return readable;
  }

  #delivery(row: NotificationRow): NotificationDelivery {
    return {
      payload: JSON.stringify(serializeNotification(row, this.encodeId)),
      // An active notification has a publication time.
      publicationTime: parseSql(row.publication_time!),
      userIds: [],
    };
  }

  async statuses(requests: readonly { userId: UserId | undefined; since: Cursor }[]): Promise<string[]> {
    if (requests.length === 0) return [];
    const oldest = new Map<UserId, Cursor>();
    for (const { userId, since } of requests) {
      if (userId !== undefined) oldest.set(userId, Math.min(since, oldest.get(userId) ?? since));
    }
    const [unread, notifications, broadcasts] = await Promise.all([
      this.#unread([...oldest.keys()]),
      this.#notificationsSince(oldest),
      this.#broadcasts(Math.min(...requests.map(({ since }) => since))),
    ]);
    return requests.map(({ userId, since }) =>
      JSON.stringify({
        total_unread_count: unread.get(userId) ?? 0,
        notifications: pick(notifications.get(userId), since),
        broadcasts: pick(broadcasts, since),
      }),
    );
  }

  async #unread(users: readonly UserId[]): Promise<Map<UserId | undefined, number>> {
    if (users.length === 0) return new Map();
    const rows = await this.db.all<{ user_id: number; unread: number }>(
      `SELECT a.user_id, count(*) AS unread
         FROM user_notification_association a JOIN notification n ON n.id = a.notification_id
        WHERE ${this.db.isOneOf('a.user_id', 1)} AND a.seen_time IS NULL
          AND (a.deleted IS NULL OR a.deleted = false) AND ${this.#active}
        GROUP BY a.user_id`,
      [this.db.list(users)],
    );
    return new Map(rows.map((row) => [row.user_id, row.unread]));
  }

  /** Each user's from the user's own cursor, so that one old cursor does not lengthen the read for the others. */
  async #notificationsSince(oldest: ReadonlyMap<UserId, Cursor>): Promise<Map<UserId | undefined, Dated[]>> {
    if (oldest.size === 0) return new Map();
    const asked = [...oldest].map(([user_id, since]) => ({ user_id, since: sinceInclusive(since) }));
    const rows = await this.db.all<UserNotificationRow>(
      `SELECT ${USER_NOTIFICATION_FIELDS}
         FROM ${askedByUser(this.db.dialect, 1)}
         JOIN user_notification_association a ON a.user_id = asked.user_id
         JOIN notification n ON n.id = a.notification_id
        WHERE (a.deleted IS NULL OR a.deleted = false)
          AND (a.update_time >= asked.since OR n.publication_time >= asked.since) AND ${this.#active}
        ORDER BY n.id`,
      [JSON.stringify(asked)],
    );
    const byUser = new Map<UserId | undefined, Dated[]>();
    const readable = this.#readable(rows, (row) => ({
      userId: row.user_id,
      dated: { latest: latest(row), form: serializeUserNotification(row, this.encodeId) },
    }));
    for (const { userId, dated } of readable) {
      const all = byUser.get(userId);
      if (all) all.push(dated);
      else byUser.set(userId, [dated]);
    }
    return byUser;
  }

  async #broadcasts(since: Cursor): Promise<Dated[]> {
    const rows = await this.db.all<NotificationRow>(
      `SELECT ${NOTIFICATION_FIELDS} FROM notification n
        WHERE n.category = 'broadcast' AND (n.update_time >= $1 OR n.publication_time >= $1) AND ${this.#active}
        ORDER BY n.id`,
      [sinceInclusive(since)],
    );
    return this.#readable(rows, (row) => ({
      latest: latest(row),
      form: serializeNotification(row, this.encodeId),
    }));
  }
}

const pick = (dated: readonly Dated[] = [], since: Cursor): object[] =>
  dated.filter((one) => one.latest >= since).map((one) => one.form);

const latest = (row: NotificationRow): Cursor =>
  Math.max(...[row.update_time, row.publication_time].map((text) => (text === null ? 0 : parseSql(text))));

const publishedAfter = (position: number) =>
  `(n.publication_time > $${position} OR n.create_time > $${position})`;
