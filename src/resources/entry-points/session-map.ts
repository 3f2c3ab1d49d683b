/**
 * The session map: the routing table of the proxy for interactive tools. It must never contain an entry that the table
 * of entry points lacks, because the proxy would lead a visitor to a port that belongs to somebody else now.
 */

import type { Sql, SqlRow } from '../../database/port.js';
import { toBoolean } from '../../database/port.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { EntryPointRow } from './repository.js';

/** The proxy's name for this type of key. */
const KEY_TYPE = 'interactivetoolentrypoint';
const MAP_COLUMNS =
  'key text, key_type text, token text, host text, port integer, info text, PRIMARY KEY (key, key_type)';

export interface SessionMap extends Lifecycle {
  /** Call it inside the transaction that changes them. After its commit the map contains no outdated entry of them. */
  write(tx: Sql, ids: readonly number[]): Promise<void>;
  /** Call it after the commit. Then the map contains all current entries of them. */
  settle(ids: readonly number[]): Promise<void>;
  /** Repairs what a crash between two writes left behind. @returns the number of wrong entries */
  reconcile(): Promise<number>;
}

/** For disabled interactive tools. */
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

/** @param encodeId row id to the base-36 id in the URL of the target */
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

/** Statements on the map; `table` includes its schema. */
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
    await this.#notifyProxy(sql);
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

  /** On PostgreSQL the proxy listens; it watches a SQLite file. */
  async #notifyProxy(sql: Sql): Promise<void> {
    if (sql.dialect === 'postgresql') await sql.all("SELECT pg_notify('gxitproxy', '')");
  }
}

/** Ids whose entry in the map is wrong, and keys that are no ids of ours. */
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
