/** The connection manager of a worker, with its database access. */
import type { Bus } from '../../bus/port.js';
import type { Config } from '../../config/config.js';
import { ConnectionManager } from '../../connections/manager.js';
import type { ConnectionManagerOptions } from '../../connections/manager-options.js';
import type { SqlAccounts } from '../../database/accounts.js';
import { SqlChangeLog } from '../../database/change-log.js';
import { SqlNotificationLog } from '../../database/notification-log.js';
import type { Database } from '../../database/port.js';
import { SqlPositionStore } from '../../database/position-store.js';
import { EVENTS } from '../../events/registry.js';
import type { Authentication } from '../../http/auth/authentication.js';
import type { IdCodec } from '../../http/auth/id-codec.js';
import type { CountingMetrics } from '../../telemetry/counting-metrics.js';
import { SkippedRows } from '../../telemetry/skipped-rows.js';
import type { RuntimeContext, WatchedDatabase } from './infrastructure.js';

/** Additional to `database_engine_option_pool_size`, which serves requests, so that catch-ups delay nothing else. */
const CATCH_UP_CONNECTIONS = 2;

export interface ConnectionsOptions {
  config: Config;
  database: WatchedDatabase;
  bus: Bus;
  accounts: SqlAccounts;
  authenticator: Authentication;
  idCodec: IdCodec;
  metrics: CountingMetrics;
  createDirectWrites: ConnectionManagerOptions['createDirectWrites'];
  runtime: RuntimeContext;
}

export function createConnections({
  config,
  database,
  bus,
  accounts,
  authenticator,
  idCodec,
  metrics,
  createDirectWrites,
  runtime: { logger, clock, random },
}: ConnectionsOptions): ConnectionManager {
  const encodeId = (id: number): string => idCodec.encodeId(id);
  const skippedRows = new SkippedRows({ logger: logger.child({ component: 'database' }), clock, metrics });
  const logsOf = (db: Database): Pick<ConnectionManagerOptions, 'changeLog' | 'notifications'> => ({
    changeLog: new SqlChangeLog(db, skippedRows.rows),
    notifications: config.features.notifications
      ? new SqlNotificationLog(db, encodeId, skippedRows.rows)
      : undefined,
  });
  return new ConnectionManager({
    kinds: EVENTS,
    config: config.sse,
    positions: new SqlPositionStore(database),
    ...logsOf(database),
    returning: logsOf(database.lane('catch-up', CATCH_UP_CONNECTIONS)),
    permissions: {
      revoked: async (principals) => {
        const valid = await authenticator.recheck(principals);
        return new Set(principals.filter((principal) => !valid.has(principal)));
      },
      accessible: (questions) => accounts.accessibleToEach(questions),
      forgetSession: (sessionId) => authenticator.forgetSession(sessionId),
    },
    subscribed: () => bus.subscribed,
    encodeId,
    decodeId: (text) => idCodec.decodeId(text),
    clock,
    random,
    logger: logger.child({ component: 'connections' }),
    metrics,
    createDirectWrites,
  });
}
