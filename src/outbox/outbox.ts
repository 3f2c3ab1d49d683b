/**
 * The transactional outbox: rows with events that the changing transaction itself writes, so a rollback discards them
 * and a crash keeps them. A process claims a row, publishes it and removes it; an abandoned claim expires.
 */
import type { HistoryId, SessionId, UserId } from '../core/events.js';
import { isDue, OUTBOX_CHANNEL, utcNow, utcNowMinus } from '../database/dialect.js';
import type { Database, Sql } from '../database/port.js';
import { formatSql, type Micros, parseSql } from '../lib/time.js';

/** Ids, not payloads: the event has the state of the database at the time of publishing. */
export type OutboxEntry =
  /** A notification for users, or a broadcast. */
  | { kind: 'notification'; id: number }
  /** For the user's other tabs: these notifications were seen or deleted. */
  | { kind: 'own_notifications'; userId: UserId; ids: number[] }
  | { kind: 'entry_points'; userId?: UserId; sessionId?: SessionId }
  /** A session has ended or changed its user, or fewer callers may see a history. */
  | { kind: 'permissions'; sessionId?: SessionId; historyId?: HistoryId };

export interface ClaimedEntry {
  id: number;
  /** The text itself, if it is not a valid entry. */
  entry: OutboxEntry | { kind: 'unreadable'; text: string };
}

/** An entry of a kind that only a newer version knows. A process of that version publishes it. */
export interface ForeignEntry {
  id: number;
  kind: string;
  /** It is older than `FOREIGN_SECONDS`. */
  isOver: boolean;
}

const KINDS: Readonly<Record<OutboxEntry['kind'], true>> = {
  notification: true,
  own_notifications: true,
  entry_points: true,
  permissions: true,
};

/** Longer than a batch takes with a slow broker. A crash in the middle costs this delay. */
const CLAIM_SECONDS = 15;
const BATCH = 20;
/** The upgrade of an installation takes less. */
const FOREIGN_SECONDS = 86_400;
/** Limit of `#foreign`. */
const MOST_REMEMBERED = 1_000;

export interface AddOptions {
  /** Not before this moment; by default at once. */
  due?: Micros;
  /** Replaces a waiting entry with the same subject. */
  subject?: string;
}

export class Outbox {
  /** Entries that this process leaves to processes of a newer version. */
  readonly #foreign = new Set<number>();

  /** @param owner distinguishes this process's claims */
  constructor(
    private readonly db: Database,
    private readonly owner: string,
  ) {}

  /** Call it inside the transaction of the change. */
  async add(tx: Sql, entry: OutboxEntry, { due, subject }: AddOptions = {}): Promise<void> {
    if (subject !== undefined) await tx.run('DELETE FROM lightcone_outbox WHERE subject = $1', [subject]);
    const params = [subject ?? null, JSON.stringify(entry), ...(due === undefined ? [] : [formatSql(due)])];
    await tx.run(
      `INSERT INTO lightcone_outbox (subject, entry, due_time)
       VALUES ($1, $2, ${due === undefined ? utcNow(tx.dialect) : '$3'})`,
      params,
    );
  }

  /**
   * Call it inside the same transaction if this process publishes nothing itself: the leader checks the outbox at the
   * commit.
   */
  async ring(tx: Sql): Promise<void> {
    // On SQLite every commit is noticed.
    if (tx.dialect === 'postgresql') await tx.all('SELECT pg_notify($1, $2)', [OUTBOX_CHANNEL, '']);
  }

  /**
   * Claims due entries that no other process holds, oldest first; at most `BATCH`. Fewer means that there are no more.
   */
  async claim(): Promise<{ claimed: ClaimedEntry[]; foreign: ForeignEntry[]; more: boolean }> {
    const { dialect } = this.db;
    const now = utcNow(dialect);
    const until =
      dialect === 'postgresql'
        ? `${now} + interval '${CLAIM_SECONDS} seconds'`
        : `strftime('%Y-%m-%d %H:%M:%f', 'now', '+${CLAIM_SECONDS} seconds')`;
    const isOver = `due_time < ${utcNowMinus(dialect, 3)}`;
    const rows = await this.db.all<{ id: number; entry: string; is_over: boolean | number }>(
      `UPDATE lightcone_outbox SET claimed_by = $1, claimed_until = ${until}
        WHERE id IN (SELECT id FROM lightcone_outbox
                      WHERE ${isDue(dialect, 'due_time')} AND (claimed_until IS NULL OR claimed_until < ${now})
                        AND (NOT ${this.db.isOneOf('id', 2)} OR ${isOver})
                      ORDER BY id LIMIT ${BATCH} ${dialect === 'postgresql' ? 'FOR UPDATE SKIP LOCKED' : ''})
        RETURNING id, entry, ${isOver} AS is_over`,
      [this.owner, this.db.list([...this.#foreign]), FOREIGN_SECONDS],
    );
    const claimed: ClaimedEntry[] = [];
    const foreign: ForeignEntry[] = [];
    for (const { id, entry: text, is_over } of rows.sort((a, b) => a.id - b.id)) {
      const entry = readEntry(text);
      if (typeof entry === 'string') foreign.push({ id, kind: entry, isOver: Boolean(is_over) });
      else claimed.push({ id, entry });
    }
    return { claimed, foreign, more: rows.length === BATCH };
  }

  /** Releases a foreign entry. This process does not claim it again before it is over. */
  async leave(id: number): Promise<void> {
    if (this.#foreign.size >= MOST_REMEMBERED) this.#foreign.clear();
    this.#foreign.add(id);
    await this.release([id]);
  }

  /** They were published, or are obsolete. */
  async remove(ids: readonly number[]): Promise<void> {
    await this.#own('DELETE FROM lightcone_outbox', ids);
  }

  /** They could not be published; any process may retry at once. */
  async release(ids: readonly number[]): Promise<void> {
    await this.#own('UPDATE lightcone_outbox SET claimed_by = NULL, claimed_until = NULL', ids);
  }

  /** Milliseconds until the next entry is due or its claim expires; undefined if nothing waits. */
  async nextInMs(): Promise<number | undefined> {
    const [row] = await this.db.all<{ next: string | null; now: string }>(
      `SELECT min(CASE WHEN claimed_until > due_time THEN claimed_until ELSE due_time END) AS next,
              ${utcNow(this.db.dialect)} AS now
         FROM lightcone_outbox
        WHERE NOT ${this.db.isOneOf('id', 1)} OR due_time < ${utcNowMinus(this.db.dialect, 2)}`,
      [this.db.list([...this.#foreign]), FOREIGN_SECONDS],
    );
    if (!row || row.next === null) return undefined;
    return Math.max(0, Math.ceil((parseSql(row.next) - parseSql(row.now)) / 1000));
  }

  async #own(change: string, ids: readonly number[]): Promise<void> {
    if (ids.length === 0) return;
    await this.db.run(`${change} WHERE claimed_by = $1 AND ${this.db.isOneOf('id', 2)}`, [
      this.owner,
      this.db.list(ids),
    ]);
  }
}

/** @returns the kind alone where this version does not know it */
function readEntry(text: string): ClaimedEntry['entry'] | string {
  try {
    const entry = JSON.parse(text) as OutboxEntry | null;
    if (typeof entry?.kind === 'string') return Object.hasOwn(KINDS, entry.kind) ? entry : entry.kind;
  } catch {}
  return { kind: 'unreadable', text };
}
