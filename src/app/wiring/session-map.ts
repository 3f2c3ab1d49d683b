/** Chooses the place of the session map of the interactive-tools proxy, and so its implementation. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config } from '../../config/config.js';
import type { Database } from '../../database/port.js';
import { makePrivate } from '../../database/sqlite/private-file.js';
import type { IdCodec } from '../../http/auth/id-codec.js';
import { SameDatabaseSessionMap } from '../../resources/entry-points/joint-session-map.js';
import { OtherDatabaseSessionMap } from '../../resources/entry-points/separate-session-map.js';
import { noSessionMap, type SessionMap } from '../../resources/entry-points/session-map.js';
import type { Logger } from '../../telemetry/logger.js';
import { createDatabase, type RuntimeContext } from './infrastructure.js';

/** One connection for the map, one for the lock of the row. */
const POOL_SIZE = 2;

export interface SessionMapSetup {
  map: SessionMap;
  /** Use it for all changes of entry points. */
  database: Database;
}

export async function createSessionMap(
  config: Config,
  database: Database,
  idCodec: IdCodec,
  runtime: RuntimeContext,
): Promise<SessionMapSetup> {
  const place = config.features.interactiveToolsMap;
  if (!config.features.interactiveTools || place === undefined) return { map: noSessionMap, database };
  const codec = {
    encodeId: (id: number) => idCodec.encodeEntryPointId(id),
    decodeId: (key: string) => idCodec.decodeEntryPointId(key),
  };
  const isFile = !place.startsWith('postgresql://');
  if (config.database.kind === 'sqlite' && isFile) return attached(config, place, codec, runtime);
  if (config.database.kind === 'postgresql' && place === config.database.url) {
    return { map: new SameDatabaseSessionMap({ database, table: 'gxitproxy', ...codec }), database };
  }
  const logger = runtime.logger.child({ component: 'session map' });
  const mapDatabase = isFile ? await openFile(place, logger) : await openPostgres(place, logger, runtime);
  return { map: new OtherDatabaseSessionMap({ database, mapDatabase, ...codec }), database };
}

async function openFile(file: string, logger: Logger): Promise<Database> {
  const { SqliteDatabase } = await import('../../database/sqlite/database.js');
  return new SqliteDatabase({ file, logger, journalMode: 'DELETE' });
}

async function openPostgres(url: string, logger: Logger, { clock }: RuntimeContext): Promise<Database> {
  const { PostgresDatabase } = await import('../../database/postgres/database.js');
  return new PostgresDatabase({ url, poolSize: POOL_SIZE, logger, clock });
}

/**
 * Two files, one transaction, on separate connections: every write locks an attached file, and a reader of the map must
 * delay only entry points.
 */
async function attached(
  config: Config,
  file: string,
  codec: { encodeId: (id: number) => string; decodeId: (key: string) => number | undefined },
  runtime: RuntimeContext,
): Promise<SessionMapSetup> {
  const own = await createDatabase(config.database, runtime);
  const map = new SameDatabaseSessionMap({
    database: own,
    table: 'session_map.gxitproxy',
    prepare: async () => {
      mkdirSync(dirname(file), { recursive: true });
      makePrivate(file);
      await own.start();
      await own.run('ATTACH DATABASE $1 AS session_map', [file]);
      // The proxy watches the file; a write-ahead log would hide the changes from it.
      await own.run('PRAGMA session_map.journal_mode = DELETE');
    },
    release: () => own.stop(),
    ...codec,
  });
  return { map, database: own };
}
