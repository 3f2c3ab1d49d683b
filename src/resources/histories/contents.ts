/** The datasets and collections of a history, which the panel shows. */
import { LightconeError } from '../../core/errors.js';
import type { HistoryId, Principal } from '../../core/events.js';
import { columnValues, utcNow } from '../../database/dialect.js';
import type { Database, Dialect, Sql, SqlRow, SqlValue, WriteMarks } from '../../database/port.js';
import { formatSql, type Micros } from '../../lib/time.js';
import { type Written, write } from '../written.js';
import type { HistoryAccess } from './access.js';
import type { Condition, ContentType } from './contents-filter.js';
import { becameVisibleLate, changedSince, type KnownPositions, readSince } from './contents-since.js';
import { allocateHid } from './repository.js';

export interface ContentRow extends SqlRow {
  type: ContentType;
  id: number;
  history_id: HistoryId;
  dataset_id: number | null;
  hid: number | null;
  name: string | null;
  state: string | null;
  extension: string | null;
  deleted: unknown;
  visible: unknown;
  purged: unknown;
  create_time: string | null;
  update_time: string | null;
  info: string | null;
  blurb: string | null;
  peek: string | null;
  validated_state: string | null;
  version: number | null;
}

const TABLES: Readonly<Record<ContentType, string>> = {
  dataset: 'history_dataset_association',
  dataset_collection: 'history_dataset_collection_association',
};

/** Both kinds in one list. `row_age`: the age of the transaction that wrote the row, if the database stores it. */
const allOf = (dialect: Dialect): string => {
  const age = dialect === 'postgresql' ? 'age(xmin)' : 'NULL';
  return `(
  SELECT 'dataset' AS type, ${age} AS row_age, id, history_id, dataset_id, hid, name, state, extension, deleted, visible, purged,
         create_time, update_time, info, blurb, peek, validated_state, version
    FROM history_dataset_association WHERE history_id = $1
  UNION ALL
  SELECT 'dataset_collection' AS type, ${age} AS row_age, id, history_id, NULL, hid, name, 'ok', NULL, deleted, visible, NULL,
         create_time, update_time, NULL, NULL, NULL, NULL, NULL
    FROM history_dataset_collection_association WHERE history_id = $1) c`;
};

export interface ContentsQuery {
  filters: readonly Condition[];
  /** SQL from `readOrder`. */
  order: string;
  limit: number;
  offset: number;
}

export interface Delta {
  rows: ContentRow[];
  since: string | null;
  upToDate: boolean;
  startOver: boolean;
}

export interface NewContent {
  type: ContentType;
  name: string;
  state?: string | undefined;
  extension?: string | undefined;
}

export interface ContentChange {
  name?: string | undefined;
  state?: string | undefined;
  extension?: string | undefined;
  info?: string | undefined;
  deleted?: boolean | undefined;
  visible?: boolean | undefined;
  purged?: boolean | undefined;
}

const CHANGEABLE = ['name', 'state', 'extension', 'info', 'deleted', 'visible', 'purged'];
/** Columns that collections lack. */
const OF_DATASETS_ONLY = ['state', 'extension', 'info', 'purged'];

export class HistoryContents {
  constructor(
    private readonly db: Database,
    private readonly access: HistoryAccess,
    private readonly positions: KnownPositions,
    private readonly marks: WriteMarks,
  ) {}

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE */
  async list(caller: Principal, historyId: HistoryId, query: ContentsQuery): Promise<ContentRow[]> {
    await this.access.readable(this.db, caller, historyId);
    const { where, params } = conditions(historyId, this.withLate(query.filters));
    const { length } = params;
    return this.db.all(
      `SELECT c.* FROM ${allOf(this.db.dialect)} ${where} ORDER BY ${query.order} LIMIT $${length + 1} OFFSET $${length + 2}`,
      [...params, query.limit, query.offset],
    );
  }

  /**
   * Returns what became visible since the token, and the next token. That is read before the rows, so a very recent row
   * may be repeated, but none is lost.
   * @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE, PARAMETER_INVALID
   */
  async since(caller: Principal, historyId: HistoryId, token: string, limit: number): Promise<Delta> {
    let asked = readSince(token, this.positions);
    // Pruned rows look like unchanged ones.
    const isWhole = this.positions.isWhole(asked.moment);
    if (asked.from && !isWhole && this.db.dialect === 'sqlite') asked = readSince('', this.positions);
    const { from, startOver, next, after, pageAfter } = asked;
    await this.access.readable(this.db, caller, historyId);
    const filters: Condition[] = from === undefined ? [] : [changedSince(this.db.dialect, from, isWhole)];
    if (after) filters.push({ sql: '(c.type, c.id) > (?, ?)', values: [after.type, after.id] });
    const { where, params } = conditions(historyId, filters);
    const rows = await this.db.all<ContentRow>(
      `SELECT c.* FROM ${allOf(this.db.dialect)} ${where} ORDER BY c.type, c.id LIMIT $${params.length + 1}`,
      [...params, limit + 1],
    );
    const page = rows.slice(0, limit);
    const upToDate = rows.length <= limit;
    return { rows: page, since: upToDate ? next : pageAfter(page.at(-1)!), upToDate, startOver };
  }

  /**
   * A request for changes since a time also gets rows that became visible since then, whose own times may be long
   * before.
   */
  private withLate(filters: readonly Condition[]): readonly Condition[] {
    return filters.map((filter) => {
      if (filter.changedSince === undefined) return filter;
      const since = filter.changedSince - this.positions.rowClock;
      const position = this.positions.at(since) ?? this.positions.oldest()?.position;
      if (position === undefined) return filter;
      const late = changedSince(this.db.dialect, position, this.positions.isWhole(since));
      return { sql: `(${filter.sql} OR ${late.sql})`, values: [...filter.values, ...late.values] };
    });
  }

  /**
   * Whether the history has changed since a time from an earlier answer, even if the change has an older time stamp.
   */
  async hasChanged(historyId: HistoryId, newest: Micros, known: Micros): Promise<boolean> {
    if (newest > known) return true;
    const position = this.positions.at(known) ?? this.positions.oldest()?.position;
    const late = becameVisibleLate(this.db.dialect, position);
    if (!late) return false;
    const { where, params } = conditions(historyId, [late], [formatSql(known)]);
    return (
      (await this.db.all(`SELECT 1 FROM history_audit a ${where} AND a.history_id = $1 LIMIT 1`, params))
        .length > 0
    );
  }

  /** The time for the next request of a client: later than the newest change if that became visible late. */
  currentTime(newest: Micros, known: Micros | undefined): Micros {
    return known !== undefined && newest <= known
      ? Math.max(known + 1, this.positions.newest()?.moment ?? 0)
      : newest;
  }

  /** The number of matching rows, regardless of the window. */
  async count(historyId: HistoryId, filters: readonly Condition[]): Promise<number> {
    const { where, params } = conditions(historyId, this.withLate(filters));
    const [row] = await this.db.all<{ total: number }>(
      `SELECT count(*) AS total FROM ${allOf(this.db.dialect)} ${where}`,
      params,
    );
    return row!.total;
  }

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE */
  async byId(caller: Principal, historyId: HistoryId, type: ContentType, id: number): Promise<ContentRow> {
    await this.access.readable(this.db, caller, historyId);
    return present(await find(this.db, historyId, type, id));
  }

  /** @throws LightconeError LOGIN_REQUIRED, NOT_FOUND, NOT_OWNER, PARAMETER_INVALID */
  async add(
    caller: Principal,
    historyId: HistoryId,
    { type, ...content }: NewContent,
  ): Promise<Written<ContentRow>> {
    refuseForeign(type, content);
    return write(this.db, this.marks, async (tx) => {
      await this.access.writable(tx, caller, historyId);
      const hid = await allocateHid(tx, historyId);
      const id = await insert(tx, historyId, hid, type, content);
      return present(await find(tx, historyId, type, id));
    });
  }

  /** @throws LightconeError LOGIN_REQUIRED, NOT_FOUND, NOT_OWNER, PARAMETER_INVALID */
  async change(
    caller: Principal,
    historyId: HistoryId,
    type: ContentType,
    id: number,
    change: ContentChange,
  ): Promise<Written<ContentRow>> {
    refuseForeign(type, change);
    return write(this.db, this.marks, async (tx) => {
      await this.access.writable(tx, caller, historyId);
      present(await find(tx, historyId, type, id));
      const values = columnValues(change, CHANGEABLE);
      const assignments = values.map(([column], i) => `${column} = $${i + 2}`);
      await tx.run(
        `UPDATE ${TABLES[type]} SET ${[...assignments, `update_time = ${utcNow(tx.dialect)}`].join(', ')}
          WHERE id = $1`,
        [id, ...values.map(([, value]) => value)],
      );
      return present(await find(tx, historyId, type, id));
    });
  }
}

async function insert(
  tx: Sql,
  historyId: HistoryId,
  hid: number,
  type: ContentType,
  { name, state = 'ok', extension = 'txt' }: Omit<NewContent, 'type'>,
): Promise<number> {
  const now = utcNow(tx.dialect);
  const common = [historyId, hid, name];
  const [row] =
    type === 'dataset'
      ? await tx.all<{ id: number }>(
          `INSERT INTO history_dataset_association (create_time, update_time, history_id, hid, name, state,
             extension, deleted, visible, purged, version, validated_state)
           VALUES (${now}, ${now}, $1, $2, $3, $4, $5, false, true, false, 1, 'unvalidated') RETURNING id`,
          [...common, state, extension],
        )
      : await tx.all<{ id: number }>(
          `INSERT INTO history_dataset_collection_association (create_time, update_time, history_id, hid, name,
             deleted, visible)
           VALUES (${now}, ${now}, $1, $2, $3, false, true) RETURNING id`,
          common,
        );
  return row!.id;
}

async function find(
  sql: Sql,
  historyId: HistoryId,
  type: ContentType,
  id: number,
): Promise<ContentRow | undefined> {
  const [row] = await sql.all<ContentRow>(
    `SELECT c.* FROM ${allOf(sql.dialect)} WHERE c.type = $2 AND c.id = $3`,
    [historyId, type, id],
  );
  return row;
}

function conditions(
  historyId: HistoryId,
  filters: readonly Condition[],
  /** Values for `$2` and following. */
  more: readonly SqlValue[] = [],
): { where: string; params: SqlValue[] } {
  const params: SqlValue[] = [historyId, ...more];
  const parts = filters.map(({ sql, values }) => {
    const given = [...values];
    return sql.replaceAll('?', () => `$${params.push(given.shift()!)}`);
  });
  return { where: parts.length === 0 ? '' : `WHERE ${parts.join(' AND ')}`, params };
}

function present(row: ContentRow | undefined): ContentRow {
  if (!row) throw new LightconeError('NOT_FOUND', 'there is no such item in this history');
  return row;
}

function refuseForeign(type: ContentType, values: object): void {
  if (type === 'dataset') return;
  const foreign = OF_DATASETS_ONLY.filter(
    (column) => (values as Record<string, unknown>)[column] !== undefined,
  );
  if (foreign.length > 0) {
    throw new LightconeError('PARAMETER_INVALID', `a collection has no ${foreign.join(', ')}`);
  }
}
