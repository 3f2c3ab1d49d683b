/** The rules of histories. The audit triggers record changes; nothing here publishes. */
import { LightconeError } from '../../core/errors.js';
import type { HistoryId, Principal, UserId } from '../../core/events.js';
import { columnValues } from '../../database/dialect.js';
import type { Database, Sql, WriteMarks } from '../../database/port.js';
import { type Owner, ownerOf, requireOwner, requireUser } from '../../http/auth/callers.js';
import { type Micros, parseSql } from '../../lib/time.js';
import type { OutboxWriter } from '../../outbox/writer.js';
import type { NotificationManager } from '../notifications/manager.js';
import { type Written, write } from '../written.js';
import type { HistoryAccess } from './access.js';
import type { Counters, HistoryRow, ListOptions, SharedWith } from './repository.js';
import * as repository from './repository.js';

export const UNNAMED = 'Unnamed history';

export interface HistoryChange {
  name?: string | undefined;
  deleted?: boolean | undefined;
  purged?: boolean | undefined;
  genome_build?: string | undefined;
  importable?: boolean | undefined;
  published?: boolean | undefined;
}

const CHANGEABLE = ['name', 'deleted', 'purged', 'genome_build', 'importable', 'published', 'slug'];

export interface Sharing {
  row: HistoryRow;
  users: SharedWith[];
}

export class HistoryManager {
  constructor(
    private readonly db: Database,
    private readonly access: HistoryAccess,
    private readonly outboxWriter: OutboxWriter,
    private readonly marks: WriteMarks,
    /** Notifies users of newly shared items; undefined if notifications are off. */
    private readonly notifications?: Pick<NotificationManager, 'notifyShared'>,
  ) {}

  /** The caller's own, newest first; none for a caller without user and session. */
  async own(caller: Principal, options: ListOptions): Promise<HistoryRow[]> {
    const owner = ownerOf(caller);
    return owner ? repository.listOwned(this.db, owner, options) : [];
  }

  published(window: { limit: number; offset: number }): Promise<HistoryRow[]> {
    return repository.listPublished(this.db, window);
  }

  sharedWith(userId: UserId, window: { limit: number; offset: number }): Promise<HistoryRow[]> {
    return repository.listSharedWith(this.db, userId, window);
  }

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE */
  byId(caller: Principal, id: HistoryId): Promise<HistoryRow> {
    return this.access.readable(this.db, caller, id);
  }

  counters(ids: readonly HistoryId[]): Promise<Map<HistoryId, Counters>> {
    return repository.countContents(this.db, ids);
  }

  /** The new history becomes the current one of the caller's session. @throws LightconeError LOGIN_REQUIRED */
  async create(caller: Principal, name: string): Promise<Written<HistoryRow>> {
    const owner = requireOwner(caller);
    return write(
      this.db,
      this.marks,
      async (tx) => (await repository.find(tx, await insertFor(tx, owner, caller, name)))!,
    );
  }

  /** @throws LightconeError LOGIN_REQUIRED, NOT_FOUND, NOT_OWNER */
  async change(caller: Principal, id: HistoryId, change: HistoryChange): Promise<Written<HistoryRow>> {
    let isNarrowed = false;
    const written = await write(this.db, this.marks, async (tx) => {
      const before = await this.access.writable(tx, caller, id);
      const complete = completed(change, before);
      await repository.update(tx, id, columnValues(complete, CHANGEABLE));
      isNarrowed = complete.importable === false || complete.published === false;
      if (isNarrowed) await this.outboxWriter.add(tx, { kind: 'permissions', historyId: id });
      return (await repository.find(tx, id))!;
    });
    if (isNarrowed) this.outboxWriter.wake();
    return written;
  }

  /** The caller's current history; created if there is none. @throws LightconeError LOGIN_REQUIRED */
  async current(caller: Principal): Promise<HistoryRow> {
    const owner = requireOwner(caller);
    const { sessionId } = caller;
    const found =
      (sessionId === undefined ? undefined : await repository.currentOf(this.db, sessionId)) ??
      (await repository.newestOf(this.db, owner));
    const row = found === undefined ? undefined : await repository.find(this.db, found);
    return row ?? (await this.create(caller, UNNAMED)).value;
  }

  /** @throws LightconeError LOGIN_REQUIRED, NOT_FOUND, NOT_OWNER */
  async sharing(caller: Principal, id: HistoryId): Promise<Sharing> {
    const row = await this.access.writable(this.db, caller, id);
    return { row, users: await repository.sharedWith(this.db, id) };
  }

  /**
   * Shares it with exactly these users.
   * @param whom ids and e-mail addresses
   * @throws LightconeError PARAMETER_INVALID for an unknown user; it then changes nothing
   */
  async share(
    caller: Principal,
    id: HistoryId,
    whom: readonly (UserId | string)[],
  ): Promise<Written<Sharing>> {
    requireUser(caller);
    const written = await write(this.db, this.marks, async (tx) => {
      const before = await this.access.writable(tx, caller, id);
      const had = new Set((await repository.sharedWith(tx, id)).map((user) => user.id));
      const emails = whom.filter((one) => typeof one === 'string').map((email) => email.toLowerCase());
      const known = await repository.usersByEmail(tx, emails);
      const unknown = emails.filter((email) => !known.has(email));
      if (unknown.length > 0) {
        throw new LightconeError('PARAMETER_INVALID', `there is no user ${unknown.slice(0, 3).join(', ')}`);
      }
      const ids = new Set([...whom.filter((one) => typeof one === 'number'), ...known.values()]);
      await repository.share(tx, id, [...ids]);
      const users = await repository.sharedWith(tx, id);
      if (users.length < ids.size) {
        throw new LightconeError(
          'PARAMETER_INVALID',
          'user_ids has users that do not exist; nothing was shared',
        );
      }
      // A link needs a slug. The audit row notifies the owner's other tabs.
      const slug = before.slug || users.length === 0 ? [] : [['slug', slugOf(before.name ?? '')] as const];
      await repository.update(tx, id, slug);
      // A user with whom it was shared may be viewing it.
      await this.outboxWriter.add(tx, { kind: 'permissions', historyId: id });
      const row = (await repository.find(tx, id))!;
      await this.#notifyShared(
        tx,
        row,
        [...ids].filter((userId) => !had.has(userId) && userId !== row.user_id),
      );
      return { row, users };
    });
    this.outboxWriter.wake();
    return written;
  }

  async #notifyShared(tx: Sql, row: HistoryRow, userIds: readonly UserId[]): Promise<void> {
    if (!this.notifications || userIds.length === 0) return;
    await this.notifications.notifyShared(
      tx,
      {
        item_type: 'history',
        item_name: row.name ?? UNNAMED,
        owner_name: row.username ?? '',
        slug: usernameAndSlug(row) ?? '',
      },
      userIds,
    );
  }
}

async function insertFor(tx: Sql, owner: Owner, { sessionId }: Principal, name: string): Promise<HistoryId> {
  const id = await repository.insert(tx, 'userId' in owner ? owner.userId : null, name);
  if (sessionId !== undefined) await repository.makeCurrent(tx, sessionId, id);
  return id;
}

/** Adds implied changes: a published history is accessible by its link, so it has one. */
function completed(change: HistoryChange, before: HistoryRow): HistoryChange & { slug?: string } {
  const result: HistoryChange & { slug?: string } = { ...change };
  if (change.published) result.importable = true;
  else if (change.importable === false) result.published = false;
  if (result.importable && !before.slug) result.slug = slugOf(change.name ?? before.name ?? '');
  if (change.purged) result.deleted = true;
  return result;
}

/** Never the e-mail address, because others see it. */
export const usernameAndSlug = ({ username, slug }: HistoryRow): string | null =>
  slug === null || username === null ? null : `u/${username}/h/${slug}`;

const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60) || 'history';

/** The newest audit time; 0 without any. */
export const updateTimeOf = ({ newest }: HistoryRow): Micros => (newest === null ? 0 : parseSql(newest));
