/**
 * The one frozen settings object. Made once at the edge (`loadConfig`), never read from the environment again; each part
 * is handed its own slice. Units are in the names.
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
  /** Where `serve` and `sse-monitor` tell metrics and health; undefined: nowhere but at the worker's own address. */
  readonly metricsListen: TcpAddress | undefined;
  readonly monitorMetricsListen: TcpAddress | undefined;
  readonly features: FeatureConfig;
  readonly housekeeping: HousekeepingConfig;
  readonly statsd: StatsdConfig | undefined;
  /** Seconds between the gauges; 0 switches them off. */
  readonly queueMetricsIntervalSeconds: number;
  readonly enableSseConnectionMetrics: boolean;
  /** Things an administrator should know that do not stop the start (nearly-known keys, removed keys, a default secret). */
  readonly warnings: readonly string[];
}

export type DatabaseConfig =
  | {
      readonly kind: 'postgresql';
      /** libpq-style URL without the SQLAlchemy driver; holds the password. */
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
  /** How far the clocks that stamp rows may differ from that of the database. */
  readonly rowClockSeconds: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerUser: number;
  /** Of those who are no users; 0 = no limit. */
  readonly maxConnectionsPerAddress: number;
  readonly drainTimeoutSeconds: number;
  /** A tab that takes nothing for this long is closed. */
  readonly writeTimeoutSeconds: number;
  /** How often permissions of open streams are looked at again; they outlive a revocation by at most twice this. */
  readonly permissionCheckSeconds: number;
  /** Whether shortcuts are taken that Node.js does not promise to anybody (`src/node-internals`). */
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
  /** Exact origins, `*` never; empty = own origin only. */
  readonly allowedOrigins: readonly string[];
  readonly infrastructureUrl: string;
  /** Requests per second and caller; 0 = no limit. */
  readonly apiRateLimit: number;
  /** Addresses, networks, `loopback` and `unix`: whose `X-Forwarded-For` counts. */
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
  /** Link-local and metadata hosts that are targets of entry points all the same. */
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
  /** `galaxy`: byte for byte as Galaxy writes (attached); `dogstatsd`: own default; `telegraf`: statsd_influxdb. */
  readonly form: 'galaxy-plain' | 'galaxy-influxdb' | 'dogstatsd' | 'telegraf';
}
