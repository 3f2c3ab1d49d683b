/** Composes the routes of the standalone API. */

import type { Config } from '../../config/config.js';
import { LIMITS } from '../../core/limits.js';
import { SqlChangeLog } from '../../database/change-log.js';
import { SqlNotificationLog } from '../../database/notification-log.js';
import type { Accounts } from '../../database/port.js';
import type { App, RouteModule } from '../../http/app.js';
import type { Authentication } from '../../http/auth/authentication.js';
import type { IdCodec } from '../../http/auth/id-codec.js';
import { type RequestLimits, TokenBuckets } from '../../http/auth/rate-limit.js';
import type { Clock } from '../../lib/clock.js';
import { EntryPointManager } from '../../resources/entry-points/manager.js';
import { registerEntryPoints } from '../../resources/entry-points/routes.js';
import { TargetRules } from '../../resources/entry-points/target-rules.js';
import { HistoryAccess } from '../../resources/histories/access.js';
import { HistoryContents } from '../../resources/histories/contents.js';
import type { KnownPositions } from '../../resources/histories/contents-since.js';
import { registerHistoryRoutes } from '../../resources/histories/index.js';
import { HistoryManager } from '../../resources/histories/manager.js';
import { registerNotificationSystem } from '../../resources/notifications/index.js';
import { NotificationManager } from '../../resources/notifications/manager.js';
import { SessionManager } from '../../resources/sessions/manager.js';
import { registerSessions } from '../../resources/sessions/routes.js';
import type { BackgroundJobs } from './background-jobs.js';
import type { WatchedDatabase } from './infrastructure.js';

/** Per address and account, with the burst of `LIMITS`: enough for a forgetful person. */
const LOGIN_ATTEMPTS_PER_SECOND = 0.1;

export interface ResourceOptions {
  config: Config;
  database: WatchedDatabase;
  accounts: Accounts;
  authenticator: Authentication;
  /** False if the embedding application authenticates callers: there is no sign-in then. */
  signIn: boolean;
  idCodec: IdCodec;
  limits: RequestLimits;
  clock: Clock;
  backgroundJobs: BackgroundJobs;
  positions: KnownPositions;
}

export function resourceRoutes(parts: ResourceOptions): RouteModule[] {
  const { config, database, accounts, authenticator, idCodec, limits, clock } = parts;
  const { outboxWriter } = parts.backgroundJobs;
  const context = { idCodec };
  const encodeId = (id: number): string => idCodec.encodeId(id);
  const notifications = config.features.notifications
    ? new NotificationManager(
        database,
        new SqlNotificationLog(database, encodeId),
        outboxWriter,
        encodeId,
        (moment) => parts.positions.floor(moment),
      )
    : undefined;
  const {
    entryPointHosts,
    interactiveTools,
    interactiveToolsPrefix,
    interactiveToolsBasePath,
    interactiveToolsProxyHost,
  } = config.features;
  const { map, database: entryPointDatabase } = parts.backgroundJobs.sessionMap;
  const entryPoints = interactiveTools
    ? new EntryPointManager(entryPointDatabase, map, outboxWriter, new TargetRules(entryPointHosts))
    : undefined;
  const target = {
    prefix: interactiveToolsPrefix,
    basePath: interactiveToolsBasePath,
    proxyHost: interactiveToolsProxyHost,
  };
  const access = new HistoryAccess(accounts);
  const log = new SqlChangeLog(database);
  const histories = new HistoryManager(database, access, outboxWriter, log, notifications);
  const contents = new HistoryContents(database, access, parts.positions, log);
  const sessions = new SessionManager(database, outboxWriter, (id) => authenticator.forgetSession(id));
  const attempts = new TokenBuckets(LOGIN_ATTEMPTS_PER_SECOND, LIMITS.signInsPerName.value, clock);
  return [
    (app) => registerHistoryRoutes(app, { ...context, histories, contents }),
    ...(parts.signIn
      ? [
          (app: App) =>
            registerSessions(app, {
              ...context,
              histories,
              contents,
              sessions,
              cookie: config.auth,
              addresses: limits.addresses,
              limits,
              attempts,
            }),
        ]
      : []),
    (app) => registerEntryPoints(app, { ...context, entryPoints, target }),
    (app) => registerNotificationSystem(app, { ...context, notifications }),
  ];
}
