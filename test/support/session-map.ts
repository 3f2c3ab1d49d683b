import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import type { Installation } from './installation.js';

export interface MapEntry {
  key: string;
  key_type: string;
  token: string;
  host: string;
  port: number;
  info: string;
}

/** The file `map.sqlite` as the proxy for interactive tools reads it: from outside, whenever it likes. */
export async function readMap(here: Installation): Promise<MapEntry[]> {
  const db = new BetterSqlite(join(here.folder, 'map.sqlite'), { readonly: true, timeout: 5_000 });
  try {
    return db
      .prepare('SELECT key, key_type, token, host, port, info FROM gxitproxy ORDER BY key')
      .all() as MapEntry[];
  } finally {
    db.close();
  }
}

export async function clearMap(here: Installation): Promise<void> {
  const db = new BetterSqlite(join(here.folder, 'map.sqlite'), { timeout: 5_000 });
  db.exec('DELETE FROM gxitproxy');
  db.close();
}
