/** Events of an embedding application. Each is committed to the database before anybody receives it. */
import { LightconeError } from '../../core/errors.js';
import { MAX_ID } from '../../core/events.js';
import { utcNow } from '../../database/dialect.js';
import { SqlNotificationLog } from '../../database/notification-log.js';
import type { Database } from '../../database/port.js';
import type { OutboxWriter } from '../../outbox/writer.js';
import { NotificationManager } from '../../resources/notifications/manager.js';

export type PublishedEvent =
  /** "These histories changed." To their owners and viewers. */
  | { event: 'history_update'; historyIds: readonly number[] }
  | ({ event: 'notification_update'; userIds: readonly number[] } & Message)
  /** To every open stream. */
  | ({ event: 'broadcast_update' } & Message);

export interface Message {
  subject: string;
  /** Markdown. */
  message: string;
  /** Default: `info`. */
  variant?: 'info' | 'warning' | 'urgent';
}

export interface EventPublisherOptions {
  database: Database;
  outboxWriter: OutboxWriter;
  encodeId: (id: number) => string;
  /** `enable_notification_system`. */
  notifications: boolean;
}

/** The source of its notifications. */
const SOURCE = 'application';
const VARIANTS: ReadonlySet<unknown> = new Set(['info', 'warning', 'urgent']);

export class EventPublisher {
  private readonly manager: NotificationManager;

  constructor(private readonly options: EventPublisherOptions) {
    const { database, outboxWriter, encodeId } = options;
    this.manager = new NotificationManager(
      database,
      new SqlNotificationLog(database, encodeId),
      outboxWriter,
      encodeId,
    );
  }

  /**
   * @throws LightconeError PARAMETER_INVALID, NOT_FOUND (nothing is published then), CONFIG_INVALID,
   * DATABASE_UNAVAILABLE
   */
  async publish(event: PublishedEvent): Promise<void> {
    switch (event?.event) {
      case 'history_update':
        return this.#touch(idsIn(event.historyIds, 'historyIds'));
      case 'notification_update': {
        const userIds = idsIn(event.userIds, 'userIds');
        const draft = { ...this.#draft(event), category: 'message' };
        draft.content = { ...draft.content, category: 'message' };
        await this.manager.send({ userIds, groupIds: [], roleIds: [] }, [draft]);
        return;
      }
      case 'broadcast_update':
        await this.manager.broadcast(this.#draft(event));
        return;
      default:
        throw invalid(
          `event is ${JSON.stringify((event as { event?: unknown } | undefined)?.event)}; it is history_update, notification_update or broadcast_update`,
        );
    }
  }

  /** The triggers do the rest, as for any other change. */
  async #touch(historyIds: number[]): Promise<void> {
    const { database } = this.options;
    await database.transaction(async (tx) => {
      const changed = await tx.run(
        `UPDATE history SET update_time = ${utcNow(tx.dialect)} WHERE ${database.isOneOf('id', 1)}`,
        [database.list(historyIds)],
      );
      if (changed !== historyIds.length)
        throw new LightconeError(
          'NOT_FOUND',
          'publish: historyIds names a history that does not exist; nothing was published',
        );
    });
  }

  #draft({ subject, message, variant = 'info' }: Message) {
    if (!this.options.notifications) {
      throw new LightconeError(
        'CONFIG_INVALID',
        'publish: notifications are disabled; set galaxy.enable_notification_system: true',
      );
    }
    for (const [name, text] of Object.entries({ subject, message })) {
      if (typeof text !== 'string' || text === '') throw invalid(`${name} must be text that is not empty`);
    }
    if (!VARIANTS.has(variant)) throw invalid('variant must be info, warning or urgent');
    return { source: SOURCE, variant, content: { subject, message } as object };
  }
}

/** Without duplicates. */
function idsIn(value: unknown, name: string): number[] {
  const isId = (id: unknown): boolean =>
    Number.isInteger(id) && (id as number) > 0 && (id as number) <= MAX_ID;
  if (!Array.isArray(value) || value.length === 0 || !value.every(isId))
    throw invalid(`${name} must be a list of row ids that is not empty`);
  return [...new Set(value as number[])];
}

const invalid = (what: string): LightconeError => new LightconeError('PARAMETER_INVALID', `publish: ${what}`);
