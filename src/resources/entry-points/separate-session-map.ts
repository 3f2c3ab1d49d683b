import type { Database, Sql } from '../../database/port.js';
import { active } from './repository.js';
import { differences, MapTable, type SessionMap, toMapRow } from './session-map.js';

export interface OtherDatabaseSessionMapOptions {
  /** The database of the entry points. */
  database: Database;
  /** The database of the map. */
  mapDatabase: Database;
  encodeId: (id: number) => string;
  decodeId: (key: string) => number | undefined;
}

/**
 * The map in another database: no transaction spans both, so the order does it. Before a change is committed its entries are
 * taken out of the map; after the commit, with the rows locked so that no other change comes between, what is true is
 * written. A crash in between leaves the map showing too little, which `reconcile` mends.
 */
export class OtherDatabaseSessionMap implements SessionMap {
  readonly #map = new MapTable('gxitproxy');

  constructor(private readonly options: OtherDatabaseSessionMapOptions) {}

  async start(signal?: AbortSignal): Promise<void> {
    const { mapDatabase } = this.options;
    await mapDatabase.start(signal);
    await this.#map.create(mapDatabase);
    await this.reconcile();
  }

  async stop(): Promise<void> {
    await this.options.mapDatabase.stop();
  }

  async write(_tx: Sql, ids: readonly number[]): Promise<void> {
    await this.#map.remove(this.options.mapDatabase, ids.map(this.options.encodeId));
  }

  async settle(ids: readonly number[]): Promise<void> {
    const { database, mapDatabase, encodeId } = this.options;
    await database.transaction(async (tx) => {
      const rows = (await active(tx, ids)).map((row) => toMapRow(row, encodeId));
      await mapDatabase.transaction((mapTx) => this.#map.replace(mapTx, ids.map(encodeId), rows));
    });
  }

  async reconcile(): Promise<number> {
    const { database, mapDatabase, encodeId, decodeId } = this.options;
    const wanted = (await active(database)).map((row) => toMapRow(row, encodeId));
    const { ids, foreign } = differences(await this.#map.all(mapDatabase), wanted, decodeId);
    if (foreign.length > 0) await this.#map.remove(mapDatabase, foreign);
    if (ids.length > 0) await this.settle(ids);
    return ids.length + foreign.length;
  }
}
