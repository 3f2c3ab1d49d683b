/**
 * The frozen settings object. `loadConfig` makes it once; nothing else reads the environment. Each component gets its own
 * slice. Names contain units.
 */
import type { TcpAddress } from './listen.js';
import type { LOG_LEVELS } from './schema.js';

export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Config {
  /** `server_name` without a worker number. */
  readonly serverName: string;
  readonly logLevel: LogLevel;
  readonly database: DatabaseConfig;
  readonly bus: BusConfig;
  readonly sse: SseConfig;
  readonly auth: AuthConfig;
  readonly http: HttpConfig;
  /** Addresses of the metrics and health of `serve` and `sse-monitor`; undefined: only the worker's own address. */
  readonly metricsListen: TcpAddress | undefined;
  readonly monitorMetricsListen: TcpAddress | undefined;
  readonly features: FeatureConfig;
  readonly housekeeping: HousekeepingConfig;
  readonly statsd: StatsdConfig | undefined;
  /** Interval of gauges; 0 = never. */
  readonly queueMetricsIntervalSeconds: number;
  readonly enableSseConnectionMetrics: boolean;
  /** Problems that do not prevent the start: misspelt keys, removed keys, a default secret. */
  readonly warnings: readonly string[];
}

export type DatabaseConfig =
  | {
      readonly kind: 'postgresql';
      /** libpq-style URL without the SQLAlchemy driver. It contains the password. */
      readonly url: string;
      readonly poolSize: number;
      /** For logs: the URL without its password. */
      readonly display: string;
    }
  | { readonly kind: 'sqlite'; readonly file: string; readonly display: string };

export type BusConfig =
  | { readonly kind: 'in-process'; readonly display: string }
  | { readonly kind: 'amqp'; readonly url: string; readonly display: string };

export interface SseConfig {
  readonly enabled: boolean;
  readonly attachToGalaxy: boolean;
  readonly workers: number;
  readonly keepaliveSeconds: number;
  readonly queueSize: number;
  readonly debounceMs: number;
  readonly heartbeatSeconds: number;
  readonly pollIntervalSeconds: number;
  readonly recentWindowSeconds: number;
  /** Maximum difference between the clocks that stamp rows and the clock of the database. */
  readonly rowClockSeconds: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerUser: number;
  /** Limit for streams without a login; 0 = no limit. */
  readonly maxConnectionsPerAddress: number;
  readonly drainTimeoutSeconds: number;
  /** The worker closes the stream of a tab that reads nothing for this long. */
  readonly writeTimeoutSeconds: number;
  /** Interval of permission checks. A stream ends at most twice this time after a revocation. */
  readonly permissionCheckSeconds: number;
  /** Whether to use undocumented internals of Node.js (`src/node-internals`). */
  readonly nodeInternals: boolean;
}

export interface AuthConfig {
  readonly idSecret: string;
  /** Lower-cased e-mails. */
  readonly adminUsers: readonly string[];
  readonly apiAllowRunAs: readonly string[];
  readonly bootstrapAdminApiKey: string | undefined;
  readonly cookiePath: string;
  readonly cookieDomain: string | undefined;
}

export interface HttpConfig {
  readonly listen:
    | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
    | { readonly kind: 'unix'; readonly path: string; readonly mode: number };
  /** URL prefix without trailing slash; '' for the root. */
  readonly prefix: string;
  /** Exact origins, never `*`; empty = own origin only. */
  readonly allowedOrigins: readonly string[];
  readonly infrastructureUrl: string;
  /** Requests per second and caller; 0 = no limit. */
  readonly apiRateLimit: number;
  /** Trusted proxies (addresses, networks, `loopback`, `unix`), whose `X-Forwarded-For` counts. */
  readonly trustProxy: readonly string[];
}

export interface FeatureConfig {
  readonly notifications: boolean;
  readonly interactiveTools: boolean;
  /** SQLite file or `postgresql://` URL of the interactive-tools proxy's map. */
  readonly interactiveToolsMap: string | undefined;
  readonly interactiveToolsPrefix: string;
  readonly interactiveToolsBasePath: string;
  readonly interactiveToolsProxyHost: string | undefined;
  /** Link-local and metadata hosts that entry points may have as targets nevertheless. */
  readonly entryPointHosts: readonly string[];
}

export interface HousekeepingConfig {
  /** Seconds; 0 = never. */
  readonly auditPruneSeconds: number;
  readonly expiredNotificationsSeconds: number;
}

export interface StatsdConfig {
  readonly host: string;
  readonly port: number;
  readonly prefix: string;
  /** `galaxy-…`: equal to Galaxy's byte for byte (attached); `dogstatsd`: default; `telegraf`: `statsd_influxdb`. */
  readonly form: 'galaxy-plain' | 'galaxy-influxdb' | 'dogstatsd' | 'telegraf';
}
