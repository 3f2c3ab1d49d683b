import type { Database, Sql } from '../../database/port.js';
import { active } from './repository.js';
import { differences, MapTable, type SessionMap, toMapRow } from './session-map.js';

export interface SameDatabaseSessionMapOptions {
  /** The database of the entry points, which also reaches the map. */
  database: Database;
  /** The name of the map there. */
  table: string;
  /** Makes the map reachable; called once, before anything else. */
  prepare?: () => Promise<void>;
  release?: () => Promise<void>;
  encodeId: (id: number) => string;
  decodeId: (key: string) => number | undefined;
}

/** A map in the database of the entry points, or in a file attached to it: one transaction changes both. */
export class SameDatabaseSessionMap implements SessionMap {
  readonly #map: MapTable;

  constructor(private readonly options: SameDatabaseSessionMapOptions) {
    this.#map = new MapTable(options.table);
  }

  async start(): Promise<void> {
    const { database, prepare } = this.options;
    await prepare?.();
    await this.#map.create(database);
    await this.reconcile();
  }

  async stop(): Promise<void> {
    await this.options.release?.();
  }

  async write(tx: Sql, ids: readonly number[]): Promise<void> {
    const { encodeId } = this.options;
    const rows = await active(tx, ids);
    await this.#map.replace(
      tx,
      ids.map(encodeId),
      rows.map((row) => toMapRow(row, encodeId)),
    );
  }

  async settle(): Promise<void> {}

  reconcile(): Promise<number> {
    const { database, encodeId, decodeId } = this.options;
    return database.transaction(async (tx) => {
      const wanted = (await active(tx)).map((row) => toMapRow(row, encodeId));
      const { ids, foreign } = differences(await this.#map.all(tx), wanted, decodeId);
      // Read again under a lock: it may have changed after the comparison.
      if (ids.length > 0) await this.write(tx, ids);
      if (foreign.length > 0) await this.#map.remove(tx, foreign);
      return ids.length + foreign.length;
    });
  }
}
