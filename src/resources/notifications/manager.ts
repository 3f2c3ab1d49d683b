/** The rules of notifications: recipients, time of publication, expiration. */
import { LightconeError } from '../../core/errors.js';
import type { UserId } from '../../core/events.js';
import { utcNow } from '../../database/dialect.js';
import {
  type NotificationForm,
  type NotificationRow,
  serializeNotification,
  serializeUserNotification,
  type UserNotificationForm,
} from '../../database/notification-forms.js';
import {
  loadPreferences,
  type NotificationPreferences,
  PREFERENCE_NAME,
} from '../../database/notification-preferences.js';
import type { Database, NotificationLog, Sql } from '../../database/port.js';
import { formatIso, type Micros, parseSql, secondsToMicros } from '../../lib/time.js';
import type { OutboxWriter } from '../../outbox/writer.js';
import * as repository from './repository.js';
import { USER_CATEGORIES } from './schemas.js';

const DEFAULT_LIFETIME = secondsToMicros(180 * 86_400);
/** The source of Galaxy's own notifications of sharing. */
const SHARING = 'galaxy_sharing_system';

/** The content of a `new_shared_item`, as Galaxy lists it (contract, section 3.4). */
export interface SharedItem {
  item_type: 'history';
  item_name: string;
  owner_name: string;
  /** The path of the owner's item. */
  slug: string;
}

export interface Draft {
  source: string;
  category: string;
  variant: string;
  content: object;
  /** Default: now. */
  publicationTime?: Micros | undefined;
  /** Default: 180 days after the creation. */
  expirationTime?: Micros | undefined;
}

export interface Recipients {
  userIds: readonly number[];
  groupIds: readonly number[];
  roleIds: readonly number[];
}

export interface Marks {
  seen?: boolean | undefined;
  deleted?: boolean | undefined;
}

export class NotificationManager {
  constructor(
    private readonly db: Database,
    private readonly log: Pick<NotificationLog, 'statuses'>,
    private readonly outboxWriter: OutboxWriter,
    private readonly encodeId: (id: number) => string,
    /** No row that becomes visible after a moment has an earlier time than the result. */
    private readonly floor: (moment: Micros) => Micros = (moment) => moment,
  ) {}

  /**
   * Sends all notifications to all recipients, in one transaction.
   * @returns the number of user notifications, and the notifications
   * @throws LightconeError PARAMETER_INVALID for unknown recipients and inconsistent times
   */
  async send(
    recipients: Recipients,
    drafts: readonly Draft[],
  ): Promise<{ sent: number; notifications: NotificationForm[] }> {
    const now = await this.db.now();
    const rows = drafts.map((draft) => timed(draft, now));
    const result = await this.db.transaction(async (tx) => {
      await this.#refuseUnknown(tx, recipients);
      const userIds = await repository.resolveRecipients(tx, recipients);
      let sent = 0;
      const notifications: NotificationForm[] = [];
      for (const row of rows) {
        const { made, given } = await this.#give(tx, row, userIds, now);
        sent += given;
        notifications.push(serializeNotification(made, this.encodeId));
      }
      return { sent, notifications };
    });
    this.outboxWriter.wake();
    return result;
  }

  /** Call it inside the transaction that shares the item, and wake the publisher after the commit. */
  async notifyShared(tx: Sql, item: SharedItem, userIds: readonly UserId[]): Promise<void> {
    const [row] = await tx.all<{ now: string }>(`SELECT ${utcNow(tx.dialect)} AS now`);
    const now = parseSql(row!.now);
    const category = 'new_shared_item';
    const content = { category, ...item };
    await this.#give(tx, timed({ source: SHARING, variant: 'info', category, content }, now), userIds, now);
  }

  /** To everybody. @throws LightconeError PARAMETER_INVALID */
  async broadcast(draft: Omit<Draft, 'category'>): Promise<NotificationForm> {
    const now = await this.db.now();
    const content = { ...draft.content, category: 'broadcast' };
    const row = timed({ ...draft, content, category: 'broadcast' }, now);
    const made = await this.db.transaction(async (tx) => {
      const inserted = await repository.insertNotification(tx, row);
      await this.#announce(tx, inserted, now);
      return inserted;
    });
    this.outboxWriter.wake();
    return serializeNotification(made, this.encodeId);
  }

  /**
   * The edited broadcast is sent again, at its (perhaps new) publication time. @throws LightconeError NOT_FOUND,
   * PARAMETER_INVALID
   */
  async editBroadcast(id: number, change: Partial<Omit<Draft, 'category'>>): Promise<void> {
    const now = await this.db.now();
    await this.db.transaction(async (tx) => {
      const before = await repository.findBroadcast(tx, id, true);
      if (!before) throw notFound('broadcast');
      const publication = change.publicationTime ?? momentOf(before.publication_time) ?? now;
      const expiration = change.expirationTime ?? momentOf(before.expiration_time);
      if (expiration !== undefined) refuseOver(publication, expiration, now);
      await repository.updateBroadcast(tx, id, {
        ...change,
        ...(change.content && { content: { ...change.content, category: 'broadcast' } }),
      });
      const after = await repository.findBroadcast(tx, id, true);
      await this.#announce(tx, after!, now);
    });
    this.outboxWriter.wake();
  }

  async broadcasts(everything: boolean): Promise<NotificationForm[]> {
    const rows = await repository.listBroadcasts(this.db, everything);
    return rows.map((row) => serializeNotification(row, this.encodeId));
  }

  /** @throws LightconeError NOT_FOUND */
  async broadcastById(id: number, everything: boolean): Promise<NotificationForm> {
    const row = await repository.findBroadcast(this.db, id, everything);
    if (!row) throw notFound('broadcast');
    return serializeNotification(row, this.encodeId);
  }

  async list(userId: UserId, window: { limit: number; offset: number }): Promise<UserNotificationForm[]> {
    const rows = await repository.listOwn(this.db, userId, window);
    return rows.map((row) => serializeUserNotification(row, this.encodeId));
  }

  /** @throws LightconeError NOT_FOUND */
  async byId(userId: UserId, id: number): Promise<UserNotificationForm> {
    const row = await repository.findOwn(this.db, userId, id);
    if (!row) throw notFound('notification');
    return serializeUserNotification(row, this.encodeId);
  }

  /** The status object of section 4.3, as JSON text; for `undefined` broadcasts only. */
  async status(userId: UserId | undefined, since: Micros): Promise<string> {
    const [status] = await this.log.statuses([{ userId, since: this.floor(since) }]);
    return status!;
  }

  /**
   * Wakes the user's other tabs.
   * @returns the number of marked notifications
   * @throws LightconeError PARAMETER_INVALID if there is nothing to change
   */
  async mark(userId: UserId, ids: readonly number[], marks: Marks): Promise<number> {
    if (marks.seen === undefined && marks.deleted === undefined) {
      throw new LightconeError('PARAMETER_INVALID', 'nothing to change; give seen or deleted');
    }
    const marked = await this.db.transaction(async (tx) => {
      const found = await repository.markOwn(tx, userId, ids, marks);
      if (found.length > 0) {
        await this.outboxWriter.add(tx, { kind: 'own_notifications', userId, ids: found });
      }
      return found;
    });
    this.outboxWriter.wake();
    return marked.length;
  }

  /** @throws LightconeError NOT_FOUND if the user has no such notification */
  async markOne(userId: UserId, id: number, marks: Marks): Promise<void> {
    if ((await this.mark(userId, [id], marks)) === 0) throw notFound('notification');
  }

  /** Every category; those without a choice are enabled. */
  async preferences(userId: UserId): Promise<NotificationPreferences> {
    const stored = (await loadPreferences(this.db, [userId])).get(userId) ?? {};
    const everything = { enabled: true, channels: { push: true, email: true } };
    return { ...Object.fromEntries(USER_CATEGORIES.map((category) => [category, everything])), ...stored };
  }

  /** Categories that the choice omits stay unchanged. */
  async updatePreferences(userId: UserId, choice: NotificationPreferences): Promise<NotificationPreferences> {
    await this.db.transaction(async (tx) => {
      const stored = (await loadPreferences(tx, [userId])).get(userId) ?? {};
      const value = JSON.stringify({ preferences: { ...stored, ...choice } });
      await repository.writePreference(tx, userId, PREFERENCE_NAME, value);
    });
    return this.preferences(userId);
  }

  /** @returns the notification and the number of its recipients */
  async #give(
    tx: Sql,
    row: repository.NewNotification,
    userIds: readonly UserId[],
    now: Micros,
  ): Promise<{ made: NotificationRow; given: number }> {
    const made = await repository.insertNotification(tx, row);
    const given = await repository.addRecipients(tx, made, userIds);
    if (given > 0) await this.#announce(tx, made, now);
    return { made, given };
  }

  /** One entry per notification: an edit before the publication replaces the waiting entry. */
  #announce(tx: Sql, row: NotificationRow, now: Micros): Promise<void> {
    const publication = momentOf(row.publication_time) ?? now;
    return this.outboxWriter.add(
      tx,
      { kind: 'notification', id: row.id },
      { subject: `notification:${row.id}`, ...(publication > now && { due: publication }) },
    );
  }

  async #refuseUnknown(tx: Sql, { userIds, groupIds, roleIds }: Recipients): Promise<void> {
    if (userIds.length + groupIds.length + roleIds.length === 0) {
      throw new LightconeError(
        'PARAMETER_INVALID',
        'recipients is empty; give user_ids, group_ids or role_ids',
      );
    }
    const named = [
      ['user_ids', await repository.missingIds(tx, 'galaxy_user', userIds)],
      ['group_ids', await repository.missingIds(tx, 'galaxy_group', groupIds)],
      ['role_ids', await repository.missingIds(tx, 'role', roleIds)],
    ] as const;
    for (const [name, unknown] of named) {
      if (unknown.length === 0) continue;
      const shown = unknown.slice(0, 3).map(this.encodeId).join(', ');
      throw new LightconeError(
        'PARAMETER_INVALID',
        `recipients.${name} does not exist: ${shown}; nothing was sent`,
      );
    }
  }
}

/** Fills in the times. @throws LightconeError PARAMETER_INVALID */
function timed(draft: Draft, now: Micros): repository.NewNotification {
  const publicationTime = draft.publicationTime ?? now;
  const expirationTime = draft.expirationTime ?? now + DEFAULT_LIFETIME;
  refuseOver(publicationTime, expirationTime, now);
  return { ...draft, publicationTime, expirationTime };
}

/** Nobody would see a notification that expires before its publication, or has expired. */
function refuseOver(publication: Micros, expiration: Micros, now: Micros): void {
  if (expiration > publication && expiration > now) return;
  throw new LightconeError(
    'PARAMETER_INVALID',
    expiration > now
      ? `it would expire (${formatIso(expiration)}) before it is published (${formatIso(publication)}); give a later expiration_time`
      : `its expiration_time (${formatIso(expiration)}) has passed; give a later one`,
  );
}

const momentOf = (column: string | null): Micros | undefined =>
  column === null ? undefined : parseSql(column);

const notFound = (what: string): LightconeError =>
  new LightconeError('NOT_FOUND', `there is no such ${what}, or it is not yours`);
