/** Makes notifications: first the row, committed, then the control task. Without the task a tab sees it on its next catch-up. */

import type { Publisher } from '../bus/port.js';
import { LightconeError } from '../core/errors.js';
import type { ControlTask, Cursor, UserId } from '../core/events.js';
import { MICROS_PER_SECOND } from '../core/time.js';
import { utcNow } from '../database/dialect.js';
import type { Database, NotificationDelivery, NotificationLog, Sql } from '../database/port.js';

export interface Message {
  subject: string;
  /** Markdown. */
  message: string;
}

const DAYS_UNTIL_EXPIRY = 180;

export class NotificationSender {
  /** @param encodeId row id to encoded id */
  constructor(
    private readonly db: Database,
    private readonly log: NotificationLog,
    private readonly publisher: Publisher,
    private readonly encodeId: (id: number) => string,
  ) {}

  /** @throws LightconeError BUS_UNAVAILABLE when the broadcast is stored but could not be published */
  async broadcast(message: Message): Promise<void> {
    const floor = await this.#floor();
    const id = await this.db.transaction((tx) => insertNotification(tx, 'broadcast', message));
    await this.#publish(id, await this.log.broadcastsSince(floor), ({ payload }) => ({
      task: 'notify_broadcast',
      payload,
    }));
  }

  /** @throws LightconeError NOT_FOUND when there is no such user; BUS_UNAVAILABLE as `broadcast` */
  async message(email: string, message: Message): Promise<void> {
    const floor = await this.#floor();
    const id = await this.db.transaction(async (tx) => {
      const userId = await userByEmail(tx, email);
      const notificationId = await insertNotification(tx, 'message', message);
      await tx.run(
        `INSERT INTO user_notification_association (user_id, notification_id, deleted, update_time)
         VALUES ($1, $2, false, ${utcNow(tx.dialect)})`,
        [userId, notificationId],
      );
      return notificationId;
    });
    await this.#publish(id, await this.log.notificationsSince(floor), ({ payload, userIds }) => ({
      task: 'notify_users',
      userIds,
      payload,
    }));
  }

  async #floor(): Promise<Cursor> {
    return (await this.db.now()) - MICROS_PER_SECOND;
  }

  /** The payload comes from the one place that renders it: what is pushed equals what a catch-up reads. */
  async #publish(
    id: number,
    recent: readonly NotificationDelivery[],
    taskOf: (delivery: NotificationDelivery) => ControlTask,
  ): Promise<void> {
    const encoded = this.encodeId(id);
    const own = recent.find(({ payload }) => (JSON.parse(payload) as { id: string }).id === encoded);
    if (own) await this.publisher.publish(taskOf(own));
  }
}

async function insertNotification(tx: Sql, category: string, message: Message): Promise<number> {
  const now = utcNow(tx.dialect);
  const expiry =
    tx.dialect === 'postgresql'
      ? `${now} + interval '${DAYS_UNTIL_EXPIRY} days'`
      : `strftime('%Y-%m-%d %H:%M:%f', 'now', '+${DAYS_UNTIL_EXPIRY} days')`;
  const [row] = await tx.all<{ id: number }>(
    `INSERT INTO notification (create_time, update_time, publication_time, expiration_time, source, category,
                               variant, dispatched, content)
     VALUES (${now}, ${now}, ${now}, ${expiry}, 'lightcone', $1, 'info', true, $2) RETURNING id`,
    [category, Buffer.from(JSON.stringify({ ...message, category }))],
  );
  return row!.id;
}

async function userByEmail(tx: Sql, email: string): Promise<UserId> {
  const [row] = await tx.all<{ id: number }>(
    'SELECT id FROM galaxy_user WHERE lower(email) = $1 AND (deleted IS NULL OR deleted = false)',
    [email.trim().toLowerCase()],
  );
  if (!row) throw new LightconeError('NOT_FOUND', `there is no user ${email}`);
  return row.id;
}
