/** Statements on interactive-tool entry points and their jobs. */
import type { SessionId, UserId } from '../../core/events.js';
import { utcNow } from '../../database/dialect.js';
import type { Sql, SqlRow, SqlValue } from '../../database/port.js';
import type { Owner } from '../../http/auth/callers.js';

/** The states of an unfinished job. */
const RUNNING_STATES = ['new', 'resubmitted', 'upload', 'waiting', 'queued', 'running'];
const RUNS = `j.state IN (${RUNNING_STATES.map((state) => `'${state}'`).join(', ')})`;
const THERE = '(e.deleted IS NULL OR e.deleted = false)';
/** Configured, not deleted, with a running job. */
const ACTIVE = `(e.configured = true AND ${THERE} AND ${RUNS})`;

export interface EntryPointRow extends SqlRow {
  id: number;
  job_id: number;
  name: string | null;
  label: string | null;
  token: string;
  host: string | null;
  port: number | null;
  entry_url: string | null;
  requires_domain: unknown;
  requires_path_in_url: unknown;
  requires_path_in_header_named: string | null;
  deleted: unknown;
  active: unknown;
  created_time: string | null;
  modified_time: string | null;
  user_id: UserId | null;
  session_id: SessionId | null;
}

const SELECT = `SELECT e.id, e.job_id, e.name, e.label, e.token, e.host, e.port, e.entry_url, e.requires_domain,
    e.requires_path_in_url, e.requires_path_in_header_named, e.deleted, ${ACTIVE} AS active,
    e.created_time, e.modified_time, j.user_id, j.session_id
  FROM interactivetool_entry_point e JOIN job j ON j.id = e.job_id`;

export interface JobRow extends SqlRow {
  id: number;
  user_id: UserId | null;
  session_id: SessionId | null;
}

/** Those of the owner's unfinished jobs. */
export function listRunning(sql: Sql, owner: Owner): Promise<EntryPointRow[]> {
  const [condition, id] =
    'userId' in owner
      ? ['j.user_id = $1', owner.userId]
      : ['j.user_id IS NULL AND j.session_id = $1', owner.sessionId];
  return sql.all(`${SELECT} WHERE ${condition} AND ${THERE} AND ${RUNS} ORDER BY e.id`, [id]);
}

export const listOfJob = (sql: Sql, jobId: number): Promise<EntryPointRow[]> =>
  sql.all(`${SELECT} WHERE e.job_id = $1 AND ${THERE} ORDER BY e.id`, [jobId]);

export async function find(sql: Sql, id: number): Promise<EntryPointRow | undefined> {
  const [row] = await sql.all<EntryPointRow>(`${SELECT} WHERE e.id = $1`, [id]);
  return row;
}

export async function findJob(sql: Sql, id: number): Promise<JobRow | undefined> {
  const [row] = await sql.all<JobRow>('SELECT id, user_id, session_id FROM job WHERE id = $1', [id]);
  return row;
}

/**
 * All active ones, or the active ones of the given ids. Inside a transaction, the given ones do not change until its
 * end.
 */
export async function active(sql: Sql, ids?: readonly number[]): Promise<EntryPointRow[]> {
  if (ids === undefined) return sql.all(`${SELECT} WHERE ${ACTIVE} ORDER BY e.id`);
  await lock(sql, ids);
  return sql.all(`${SELECT} WHERE ${ACTIVE} AND ${sql.isOneOf('e.id', 1)} ORDER BY e.id`, [sql.list(ids)]);
}

/**
 * On SQLite the transaction already holds the only write lock. In the order of the ids, so that two that lock several
 * never wait for each other.
 */
export async function lock(tx: Sql, ids: readonly number[]): Promise<void> {
  if (tx.dialect === 'sqlite') return;
  await tx.all(
    `SELECT id FROM interactivetool_entry_point WHERE ${tx.isOneOf('id', 1)} ORDER BY id FOR UPDATE`,
    [tx.list(ids)],
  );
}

export async function idsOfJob(sql: Sql, jobId: number): Promise<number[]> {
  const rows = await sql.all<{ id: number }>(
    'SELECT id FROM interactivetool_entry_point WHERE job_id = $1 ORDER BY id',
    [jobId],
  );
  return rows.map((row) => row.id);
}

export async function ownerExists(sql: Sql, owner: Owner): Promise<boolean> {
  const [table, id] =
    'userId' in owner ? ['galaxy_user', owner.userId] : (['galaxy_session', owner.sessionId] as const);
  return (await sql.all(`SELECT 1 FROM ${table} WHERE id = $1`, [id])).length > 0;
}

export async function insertJob(tx: Sql, owner: Owner, toolId: string): Promise<number> {
  const now = utcNow(tx.dialect);
  const [row] = await tx.all<{ id: number }>(
    `INSERT INTO job (create_time, update_time, user_id, session_id, state, tool_id)
     VALUES (${now}, ${now}, $1, $2, 'running', $3) RETURNING id`,
    ['userId' in owner ? owner.userId : null, 'sessionId' in owner ? owner.sessionId : null, toolId],
  );
  return row!.id;
}

/** Column names and values for `insert` and `update`. */
export type EntryPointValues = readonly (readonly [column: string, value: SqlValue])[];

export async function insert(tx: Sql, jobId: number, values: EntryPointValues): Promise<number> {
  const now = utcNow(tx.dialect);
  const columns = ['job_id', ...values.map(([column]) => column)];
  const [row] = await tx.all<{ id: number }>(
    `INSERT INTO interactivetool_entry_point (created_time, modified_time, deleted, ${columns.join(', ')})
     VALUES (${now}, ${now}, false, ${columns.map((_, i) => `$${i + 1}`).join(', ')}) RETURNING id`,
    [jobId, ...values.map(([, value]) => value)],
  );
  return row!.id;
}

export async function update(tx: Sql, id: number, values: EntryPointValues): Promise<void> {
  const assignments = values.map(([column], i) => `${column} = $${i + 2}`);
  await tx.run(
    `UPDATE interactivetool_entry_point
        SET ${[...assignments, `modified_time = ${utcNow(tx.dialect)}`].join(', ')} WHERE id = $1`,
    [id, ...values.map(([, value]) => value)],
  );
}

/** Does nothing if the job has ended. */
export async function stopJob(tx: Sql, id: number): Promise<void> {
  await tx.run(
    `UPDATE job SET state = 'stopped', update_time = ${utcNow(tx.dialect)}
      WHERE id = $1 AND id IN (SELECT j.id FROM job j WHERE ${RUNS})`,
    [id],
  );
}
