import type { Cursor, UserId } from '../core/events.js';
import { formatIso, formatSql, parseSql } from '../core/time.js';
import { sinceInclusive, utcNow } from './dialect.js';
import { type NotificationDelivery, type NotificationLog, type Sql, type SqlRow, toBoolean } from './port.js';

interface NotificationRow extends SqlRow {
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

interface AssociationRow extends NotificationRow {
  user_id: number;
  seen_time: string | null;
  deleted: unknown;
}

interface RecipientRow extends NotificationRow {
  user_id: number | null;
}

/** A notification in wire form, with the moment that `since` is compared with. */
interface Dated {
  latest: Cursor;
  form: object;
}

const FIELDS = `n.id, n.source, n.category, n.variant, n.create_time, n.update_time, n.publication_time,
  n.expiration_time, n.content`;

/** Reads notifications in the forms of the contract: payloads of section 3.4, status object of 4.3. */
export class SqlNotificationLog implements NotificationLog {
  readonly #active: string;

  /** @param encodeId row id to encoded id */
  constructor(
    private readonly db: Sql,
    private readonly encodeId: (id: number) => string,
  ) {
    const now = utcNow(db.dialect);
    // A NULL in either column hides the row, as the contract says.
    this.#active = `n.publication_time <= ${now} AND n.expiration_time > ${now}`;
  }

  async notificationsSince(floor: Cursor): Promise<NotificationDelivery[]> {
    const rows = await this.db.all<RecipientRow>(
      `SELECT ${FIELDS}, a.user_id
         FROM notification n LEFT JOIN user_notification_association a
           ON a.notification_id = n.id AND (a.deleted IS NULL OR a.deleted = false)
        WHERE n.category <> 'broadcast' AND ${this.#active} AND ${publishedAfter(1)}
        ORDER BY n.id, a.user_id`,
      [formatSql(floor)],
    );
    return this.#deliveries(rows).filter((delivery) => delivery.userIds.length > 0);
  }

  async broadcastsSince(floor: Cursor): Promise<NotificationDelivery[]> {
    const rows = await this.db.all<RecipientRow>(
      `SELECT ${FIELDS}, NULL AS user_id FROM notification n
        WHERE n.category = 'broadcast' AND ${this.#active} AND ${publishedAfter(1)}
        ORDER BY n.id`,
      [formatSql(floor)],
    );
    return this.#deliveries(rows);
  }

  async statuses(requests: readonly { userId: UserId | undefined; since: Cursor }[]): Promise<string[]> {
    if (requests.length === 0) return [];
    const users = [...new Set(requests.flatMap((request) => request.userId ?? []))];
    const oldest = Math.min(...requests.map((request) => request.since));
    const [unread, notifications, broadcasts] = await Promise.all([
      this.#unread(users),
      this.#notificationsOf(users, oldest),
      this.#broadcasts(oldest),
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

  async #notificationsOf(users: readonly UserId[], since: Cursor): Promise<Map<UserId | undefined, Dated[]>> {
    if (users.length === 0) return new Map();
    const rows = await this.db.all<AssociationRow>(
      `SELECT a.user_id, n.id, n.source, n.category, n.variant, n.create_time, a.update_time, n.publication_time,
              n.expiration_time, n.content, a.seen_time, a.deleted
         FROM user_notification_association a JOIN notification n ON n.id = a.notification_id
        WHERE ${this.db.isOneOf('a.user_id', 1)} AND (a.deleted IS NULL OR a.deleted = false)
          AND (a.update_time >= $2 OR n.publication_time >= $2) AND ${this.#active}
        ORDER BY n.id`,
      [this.db.list(users), sinceInclusive(since)],
    );
    const byUser = new Map<UserId | undefined, Dated[]>();
    for (const row of rows) {
      const form = { ...this.#form(row), seen_time: time(row.seen_time), deleted: toBoolean(row.deleted) };
      const dated = byUser.get(row.user_id) ?? [];
      dated.push({ latest: latest(row), form });
      byUser.set(row.user_id, dated);
    }
    return byUser;
  }

  async #broadcasts(since: Cursor): Promise<Dated[]> {
    const rows = await this.db.all<NotificationRow>(
      `SELECT ${FIELDS} FROM notification n
        WHERE n.category = 'broadcast' AND (n.update_time >= $1 OR n.publication_time >= $1) AND ${this.#active}
        ORDER BY n.id`,
      [sinceInclusive(since)],
    );
    return rows.map((row) => ({ latest: latest(row), form: this.#form(row) }));
  }

  #deliveries(rows: readonly RecipientRow[]): NotificationDelivery[] {
    const deliveries = new Map<number, NotificationDelivery>();
    for (const row of rows) {
      let delivery = deliveries.get(row.id);
      if (!delivery) {
        delivery = {
          payload: JSON.stringify(this.#form(row)),
          // Set: an active notification has one.
          publicationTime: parseSql(row.publication_time!),
          userIds: [],
        };
        deliveries.set(row.id, delivery);
      }
      if (row.user_id !== null) delivery.userIds.push(row.user_id);
    }
    return [...deliveries.values()];
  }

  /** Keys in the contract's order. */
  #form(row: NotificationRow) {
    return {
      id: this.encodeId(row.id),
      source: row.source,
      category: row.category,
      variant: row.variant,
      create_time: time(row.create_time),
      update_time: time(row.update_time),
      publication_time: time(row.publication_time),
      expiration_time: time(row.expiration_time),
      content: parseContent(row.content),
    };
  }
}

const pick = (dated: readonly Dated[] = [], since: Cursor): object[] =>
  dated.filter((one) => one.latest >= since).map((one) => one.form);

const latest = (row: NotificationRow): Cursor =>
  Math.max(...[row.update_time, row.publication_time].map((text) => (text === null ? 0 : parseSql(text))));

const publishedAfter = (position: number) =>
  `(n.publication_time > $${position} OR n.create_time > $${position})`;

const time = (text: string | null): string | null => (text === null ? null : formatIso(parseSql(text)));

/** An object, or in very old rows and edited broadcasts an object as JSON text inside JSON. */
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
