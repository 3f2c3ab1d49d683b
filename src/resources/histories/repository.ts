/** Statements on histories; the manager has the rules. */
import type { HistoryId, UserId } from '../../core/events.js';
import { utcNow } from '../../database/dialect.js';
import type { Sql, SqlRow, SqlValue } from '../../database/port.js';
import type { Owner } from '../../http/auth/callers.js';

export interface HistoryRow extends SqlRow {
  id: HistoryId;
  user_id: UserId | null;
  name: string | null;
  create_time: string | null;
  hid_counter: number | null;
  genome_build: string | null;
  slug: string | null;
  deleted: unknown;
  purged: unknown;
  importable: unknown;
  published: unknown;
  archived: unknown;
  username: string | null;
  /** The newest audit time, which clients see as `update_time`. */
  newest: string | null;
}

const SELECT = `SELECT h.id, h.user_id, h.name, h.create_time, h.hid_counter, h.genome_build, h.slug, h.deleted,
    h.purged, h.importable, h.published, h.archived, u.username,
    (SELECT max(a.update_time) FROM history_audit a WHERE a.history_id = h.id) AS newest
  FROM history h LEFT JOIN galaxy_user u ON u.id = h.user_id`;

/** A user owns by `user_id`; an anonymous session owns the anonymous histories tied to it. */
function ownedBy(owner: Owner, position: number): { condition: string; id: number } {
  return 'userId' in owner
    ? { condition: `h.user_id = $${position}`, id: owner.userId }
    : {
        condition: `(h.user_id IS NULL AND h.id IN (
          SELECT x.history_id FROM galaxy_session_to_history x WHERE x.session_id = $${position}))`,
        id: owner.sessionId,
      };
}

export interface ListOptions {
  limit: number;
  offset: number;
  deleted: boolean;
}

/** Newest first. */
export function listOwned(
  sql: Sql,
  owner: Owner,
  { limit, offset, deleted }: ListOptions,
): Promise<HistoryRow[]> {
  const { condition, id } = ownedBy(owner, 1);
  return sql.all(
    `${SELECT} WHERE ${condition} AND coalesce(h.deleted, false) = $2 ORDER BY h.id DESC LIMIT $3 OFFSET $4`,
    [id, deleted, limit, offset],
  );
}

type Window = Omit<ListOptions, 'deleted'>;

export const listPublished = (sql: Sql, { limit, offset }: Window): Promise<HistoryRow[]> =>
  sql.all(
    `${SELECT} WHERE h.published = true AND (h.deleted IS NULL OR h.deleted = false)
      ORDER BY h.id DESC LIMIT $1 OFFSET $2`,
    [limit, offset],
  );

export const listSharedWith = (sql: Sql, userId: UserId, { limit, offset }: Window): Promise<HistoryRow[]> =>
  sql.all(
    `${SELECT} WHERE (h.deleted IS NULL OR h.deleted = false)
        AND h.id IN (SELECT x.history_id FROM history_user_share_association x WHERE x.user_id = $1)
      ORDER BY h.id DESC LIMIT $2 OFFSET $3`,
    [userId, limit, offset],
  );

export async function find(sql: Sql, id: HistoryId): Promise<HistoryRow | undefined> {
  const [row] = await sql.all<HistoryRow>(`${SELECT} WHERE h.id = $1`, [id]);
  return row;
}

export async function isOwned(sql: Sql, id: HistoryId, owner: Owner): Promise<boolean> {
  const owned = ownedBy(owner, 2);
  return (
    (await sql.all(`SELECT 1 FROM history h WHERE h.id = $1 AND ${owned.condition}`, [id, owned.id])).length >
    0
  );
}

export async function insert(tx: Sql, userId: UserId | null, name: string): Promise<HistoryId> {
  const now = utcNow(tx.dialect);
  const [row] = await tx.all<{ id: number }>(
    `INSERT INTO history (create_time, update_time, user_id, name, hid_counter, deleted, purged, importing,
                          genome_build, importable, published, archived)
     VALUES (${now}, ${now}, $1, $2, 1, false, false, false, '?', false, false, false) RETURNING id`,
    [userId, name],
  );
  return row!.id;
}

/** The audit trigger records the change. */
export async function update(
  tx: Sql,
  id: HistoryId,
  values: readonly (readonly [column: string, value: SqlValue])[],
): Promise<void> {
  const assignments = values.map(([column], i) => `${column} = $${i + 2}`);
  await tx.run(
    `UPDATE history SET ${[...assignments, `update_time = ${utcNow(tx.dialect)}`].join(', ')} WHERE id = $1`,
    [id, ...values.map(([, value]) => value)],
  );
}

/** @returns the number for the next item of the history, and allocates it */
export async function allocateHid(tx: Sql, id: HistoryId): Promise<number> {
  const [row] = await tx.all<{ hid: number }>(
    `UPDATE history SET hid_counter = coalesce(hid_counter, 1) + 1, update_time = ${utcNow(tx.dialect)}
      WHERE id = $1 RETURNING hid_counter - 1 AS hid`,
    [id],
  );
  return row!.hid;
}

/** The owner's newest undeleted one. */
export async function newestOf(sql: Sql, owner: Owner): Promise<HistoryId | undefined> {
  const { condition, id } = ownedBy(owner, 1);
  const [row] = await sql.all<{ id: number }>(
    `SELECT h.id FROM history h WHERE ${condition} AND (h.deleted IS NULL OR h.deleted = false)
      ORDER BY h.id DESC LIMIT 1`,
    [id],
  );
  return row?.id;
}

/** The session's, if it is not deleted. */
export async function currentOf(sql: Sql, sessionId: number): Promise<HistoryId | undefined> {
  const [row] = await sql.all<{ id: number }>(
    `SELECT h.id FROM galaxy_session s JOIN history h ON h.id = s.current_history_id
      WHERE s.id = $1 AND (h.deleted IS NULL OR h.deleted = false)`,
    [sessionId],
  );
  return row?.id;
}

export async function makeCurrent(tx: Sql, sessionId: number, id: HistoryId): Promise<void> {
  const now = utcNow(tx.dialect);
  await tx.run(`UPDATE galaxy_session SET current_history_id = $2, update_time = ${now} WHERE id = $1`, [
    sessionId,
    id,
  ]);
  await tx.run(
    `INSERT INTO galaxy_session_to_history (create_time, session_id, history_id)
     SELECT ${now}, s.id, $2 FROM galaxy_session s
      WHERE s.id = $1 AND NOT EXISTS (SELECT 1 FROM galaxy_session_to_history x
                                       WHERE x.session_id = $1 AND x.history_id = $2)`,
    [sessionId, id],
  );
}

export interface SharedWith extends SqlRow {
  id: UserId;
  email: string;
}

export const sharedWith = (sql: Sql, id: HistoryId): Promise<SharedWith[]> =>
  sql.all(
    `SELECT DISTINCT u.id, u.email FROM history_user_share_association x JOIN galaxy_user u ON u.id = x.user_id
      WHERE x.history_id = $1 ORDER BY u.email`,
    [id],
  );

export async function share(tx: Sql, id: HistoryId, userIds: readonly UserId[]): Promise<void> {
  await tx.run('DELETE FROM history_user_share_association WHERE history_id = $1', [id]);
  await tx.run(
    `INSERT INTO history_user_share_association (history_id, user_id)
     SELECT h.id, u.id FROM history h, galaxy_user u WHERE h.id = $1 AND ${tx.isOneOf('u.id', 2)}`,
    [id, tx.list(userIds)],
  );
}

/** Undeleted users, by lower-cased e-mail. */
export async function usersByEmail(sql: Sql, emails: readonly string[]): Promise<Map<string, UserId>> {
  const rows = await sql.all<{ id: number; email: string }>(
    `SELECT id, lower(email) AS email FROM galaxy_user
      WHERE ${sql.isOneOf('lower(email)', 1)} AND (deleted IS NULL OR deleted = false)`,
    [sql.list(emails)],
  );
  return new Map(rows.map((row) => [row.email, row.id]));
}

export interface Counters {
  active: number;
  deleted: number;
  hidden: number;
}

/** One statement for any number of histories; empty ones have no entry. */
export async function countContents(sql: Sql, ids: readonly HistoryId[]): Promise<Map<HistoryId, Counters>> {
  if (ids.length === 0) return new Map();
  const deleted = 'coalesce(c.deleted, false)';
  const visible = 'coalesce(c.visible, true)';
  const of = (table: string): string =>
    `SELECT history_id, deleted, visible FROM ${table} WHERE ${sql.isOneOf('history_id', 1)}`;
  const rows = await sql.all<{ history_id: number; active: number; deleted: number; hidden: number }>(
    `SELECT c.history_id,
            sum(CASE WHEN ${deleted} = false AND ${visible} = true THEN 1 ELSE 0 END) AS active,
            sum(CASE WHEN ${deleted} = true THEN 1 ELSE 0 END) AS deleted,
            sum(CASE WHEN ${deleted} = false AND ${visible} = false THEN 1 ELSE 0 END) AS hidden
       FROM (${of('history_dataset_association')} UNION ALL ${of('history_dataset_collection_association')}) c
      GROUP BY c.history_id`,
    [sql.list(ids)],
  );
  return new Map(
    rows.map(({ history_id, active, deleted, hidden }) => [
      history_id,
      { active: Number(active), deleted: Number(deleted), hidden: Number(hidden) },
    ]),
  );
}
