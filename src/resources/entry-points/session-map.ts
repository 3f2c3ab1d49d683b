/**
 * The session map: the table from which the proxy for interactive tools learns where to route. It must never show what the
 * table of entry points does not: a visitor would be led to a port that has become somebody else's.
 */

import type { Sql, SqlRow } from '../../database/port.js';
import { toBoolean } from '../../database/port.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { EntryPointRow } from './repository.js';

/** As the proxy knows them. */
export const KEY_TYPE = 'interactivetoolentrypoint';
export const MAP_COLUMNS =
  'key text, key_type text, token text, host text, port integer, info text, PRIMARY KEY (key, key_type)';

export interface SessionMap extends Lifecycle {
  /** Inside the transaction that has just changed them: from its commit on the map shows nothing of these that is not true. */
  write(tx: Sql, ids: readonly number[]): Promise<void>;
  /** After the commit: from here on the map shows of these all that is true. */
  settle(ids: readonly number[]): Promise<void>;
  /** Puts right what a crash between two writes left behind. @returns how many entries were not as they should be */
  reconcile(): Promise<number>;
}

/** Where interactive tools are off. */
export const noSessionMap: SessionMap = {
  async start() {},
  async stop() {},
  async write() {},
  async settle() {},
  reconcile: async () => 0,
};

export interface MapRow extends SqlRow {
  key: string;
  token: string;
  host: string;
  port: number;
  info: string;
}

/** @param encodeId row id to the base-36 id that stands in the target's URL */
export function toMapRow(row: EntryPointRow, encodeId: (id: number) => string): MapRow {
  return {
    key: encodeId(row.id),
    token: row.token,
    host: row.host ?? '',
    port: row.port ?? 0,
    info: JSON.stringify({
      requires_path_in_url: toBoolean(row.requires_path_in_url),
      requires_path_in_header_named: row.requires_path_in_header_named,
    }),
  };
}

/** Statements over the map; `table` says in which schema it stands. */
export class MapTable {
  constructor(private readonly table: string) {}

  create(sql: Sql): Promise<number> {
    return sql.run(`CREATE TABLE IF NOT EXISTS ${this.table} (${MAP_COLUMNS})`);
  }

  all(sql: Sql): Promise<MapRow[]> {
    return sql.all(`SELECT key, token, host, port, info FROM ${this.table} WHERE key_type = $1`, [KEY_TYPE]);
  }

  async remove(sql: Sql, keys: readonly string[]): Promise<void> {
    await sql.run(`DELETE FROM ${this.table} WHERE key_type = $1 AND ${sql.isOneOf('key', 2)}`, [
      KEY_TYPE,
      sql.list(keys),
    ]);
    await this.#tellProxy(sql);
  }

  async replace(sql: Sql, keys: readonly string[], rows: readonly MapRow[]): Promise<void> {
    await this.remove(sql, keys);
    for (const { key, token, host, port, info } of rows) {
      await sql.run(
        `INSERT INTO ${this.table} (key, key_type, token, host, port, info) VALUES ($1, $2, $3, $4, $5, $6)`,
        [key, KEY_TYPE, token, host, port, info],
      );
    }
  }

  /** On PostgreSQL the proxy listens; a SQLite file it watches. */
  async #tellProxy(sql: Sql): Promise<void> {
    if (sql.dialect === 'postgresql') await sql.all("SELECT pg_notify('gxitproxy', '')");
  }
}

/** Ids whose entry in the map differs from what it should be, and keys that are no id of ours. */
export function differences(
  shown: readonly MapRow[],
  wanted: readonly MapRow[],
  decodeId: (key: string) => number | undefined,
): { ids: number[]; foreign: string[] } {
  const text = ({ key, token, host, port, info }: MapRow) => JSON.stringify([key, token, host, port, info]);
  const right = new Set(wanted.map(text));
  const there = new Set(shown.map(text));
  const wrong = [
    ...shown.filter((row) => !right.has(text(row))),
    ...wanted.filter((row) => !there.has(text(row))),
  ].map((row) => row.key);
  const ids = new Set<number>();
  const foreign = new Set<string>();
  for (const key of wrong) {
    const id = decodeId(key);
    if (id === undefined) foreign.add(key);
    else ids.add(id);
  }
  return { ids: [...ids], foreign: [...foreign] };
}
