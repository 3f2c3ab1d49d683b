/** The routes of the standalone API, put together. */
import type { Config } from '../config/config.js';
import { SqlNotificationLog } from '../database/notification-log.js';
import type { RouteModule } from '../http/app.js';
import type { Authenticator } from '../http/authentication.js';
import type { IdCodec } from '../http/id-codec.js';
import { EntryPointManager } from '../resources/entry-points/manager.js';
import { registerEntryPoints } from '../resources/entry-points/routes.js';
import { Histories } from '../resources/histories.js';
import { registerHistories } from '../resources/history-routes.js';
import { registerNotificationSystem } from '../resources/notifications/index.js';
import { NotificationManager } from '../resources/notifications/manager.js';
import type { Duties } from './duties.js';
import type { WatchedDatabase } from './parts.js';

export interface ResourceParts {
  config: Config;
  database: WatchedDatabase;
  authenticator: Authenticator;
  idCodec: IdCodec;
  duties: Duties;
}

export function resourceRoutes(parts: ResourceParts): RouteModule[] {
  const { config, database, authenticator, idCodec } = parts;
  const { announcer } = parts.duties;
  const context = { authenticator, idCodec };
  const encodeId = (id: number): string => idCodec.encodeId(id);
  const notifications = config.features.notifications
    ? new NotificationManager(database, new SqlNotificationLog(database, encodeId), announcer, encodeId)
    : undefined;
  const { interactiveTools, interactiveToolsPrefix, interactiveToolsBasePath, interactiveToolsProxyHost } =
    config.features;
  const { map, database: entryPointDatabase } = parts.duties.sessionMap;
  const entryPoints = interactiveTools
    ? new EntryPointManager(entryPointDatabase, map, announcer)
    : undefined;
  const target = {
    prefix: interactiveToolsPrefix,
    basePath: interactiveToolsBasePath,
    proxyHost: interactiveToolsProxyHost,
  };
  return [
    (app) => registerHistories(app, { histories: new Histories(database), ...context }),
    (app) => registerEntryPoints(app, { ...context, entryPoints, target }),
    (app) => registerNotificationSystem(app, { ...context, notifications }),
  ];
}
