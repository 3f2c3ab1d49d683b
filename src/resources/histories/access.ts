import { LightconeError } from '../../core/errors.js';
import type { HistoryId, Principal } from '../../core/events.js';
import type { Accounts, Sql } from '../../database/port.js';
import { ownerOf, requireUser } from '../../http/auth/callers.js';
import { find, type HistoryRow, isOwned } from './repository.js';

/** Access rules of histories: who may read one, and who may change it. */
export class HistoryAccess {
  constructor(private readonly accounts: Pick<Accounts, 'accessibleHistories'>) {}

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE */
  async readable(sql: Sql, caller: Principal, id: HistoryId): Promise<HistoryRow> {
    const row = await existing(sql, id);
    const owner = ownerOf(caller);
    if (owner && (await isOwned(sql, id, owner))) return row;
    if ((await this.accounts.accessibleHistories(caller, [id])).has(id)) return row;
    throw new LightconeError(
      'NOT_ACCESSIBLE',
      'this history belongs to another user and is not shared with you',
    );
  }

  /**
   * @throws LightconeError LOGIN_REQUIRED, REAL_USER_REQUIRED, NOT_FOUND; NOT_OWNER for all other callers, including
   * administrators
   */
  async writable(sql: Sql, caller: Principal, id: HistoryId): Promise<HistoryRow> {
    const owner = ownerOf(caller) ?? { userId: requireUser(caller) };
    const row = await existing(sql, id);
    if (await isOwned(sql, id, owner)) return row;
    throw new LightconeError('NOT_OWNER', 'only the owner may change a history');
  }
}

async function existing(sql: Sql, id: HistoryId): Promise<HistoryRow> {
  const row = await find(sql, id);
  if (!row) throw new LightconeError('NOT_FOUND', 'there is no such history');
  return row;
}
