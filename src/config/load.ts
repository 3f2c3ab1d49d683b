/** Loads the settings: collects the sources, checks the values and their combinations, returns one frozen `Config`. */
import { resolve } from 'node:path';
import { LightconeError } from '../core/errors.js';
import type { BusConfig, Config, DatabaseConfig, FeatureConfig, LogLevel, StatsdConfig } from './config.js';
import { isLoopback, parseListen, type TcpAddress } from './listen.js';
import { DEFAULT_ID_SECRET, type SettingValues } from './schema.js';
import { SettingError } from './setting-error.js';
import { collectSources, type LoadOptions } from './sources.js';
import { parseAmqpUrl, parseDatabaseUrl } from './urls.js';
import { type ResolvedSettings, resolveSettings } from './values.js';

export type { LoadOptions } from './sources.js';

/** Longer lists help nobody. */
const MISTAKES_SHOWN = 100;

/** @throws LightconeError CONFIG_INVALID, which lists each invalid setting with its path on a line of its own */
export function loadConfig(options: LoadOptions): Config {
  return loadSettings(options).config;
}

/** As `loadConfig`, with the checked values and their sources, for `lightcone config`. */
export function loadSettings(options: LoadOptions): { config: Config; settled: ResolvedSettings } {
  const gathered = collectSources(options, (path) => resolve(options.cwd, path));
  const settled = resolveSettings(gathered);
  const build = new ConfigBuilder(settled, options);
  const config = build.config([...gathered.warnings, ...settled.warnings]);
  const mistakes = [...gathered.mistakes, ...settled.mistakes, ...build.mistakes];
  if (mistakes.length > 0) {
    // A misspelling in `galaxy:` is only a warning. The administrator who corrects the mistakes needs it, too.
    const shown = [
      ...mistakes,
      ...[...gathered.warnings, ...settled.warnings].map((warning) => `warning: ${warning}`),
    ].slice(0, MISTAKES_SHOWN);
    if (mistakes.length > MISTAKES_SHOWN) shown.push(`and ${mistakes.length - MISTAKES_SHOWN} more`);
    throw new LightconeError('CONFIG_INVALID', ['invalid settings:', ...shown].join('\n  '));
  }
  return { config, settled };
}

class ConfigBuilder {
  readonly mistakes: string[] = [];
  readonly #warnings: string[] = [];
  readonly #values: SettingValues;

  constructor(
    private readonly settled: ResolvedSettings,
    private readonly options: LoadOptions,
  ) {
    this.#values = settled.values;
  }

  config(earlierWarnings: readonly string[]): Config {
    const { galaxy, sse } = this.#values;
    const database = this.#database();
    const bus = this.#bus();
    this.#checkTogether(database, bus);
    const prefix = galaxy.galaxy_url_prefix.replace(/\/$/, '');
    return deepFreeze({
      serverName: galaxy.server_name,
      logLevel: sse.log_level as LogLevel,
      database,
      bus,
      sse: {
        enabled: galaxy.enable_sse_updates,
        attachToGalaxy: sse.attach_to_galaxy,
        workers: sse.workers,
        keepaliveSeconds: sse.keepalive_interval,
        queueSize: sse.queue_size,
        debounceMs: sse.debounce * 1000,
        heartbeatSeconds: sse.heartbeat_interval,
        pollIntervalSeconds: galaxy.history_audit_monitor_poll_interval,
        recentWindowSeconds: sse.recent_window,
        rowClockSeconds: sse.row_clock_difference,
        maxConnections: sse.max_connections,
        maxConnectionsPerUser: sse.max_connections_per_user,
        maxConnectionsPerAddress: sse.max_connections_per_address,
        drainTimeoutSeconds: sse.drain_timeout,
        writeTimeoutSeconds: sse.write_timeout,
        permissionCheckSeconds: sse.permission_check_interval,
        nodeInternals: sse.node_internals,
      },
      auth: {
        idSecret: galaxy.id_secret,
        adminUsers: galaxy.admin_users.map((email) => email.toLowerCase()),
        apiAllowRunAs: galaxy.api_allow_run_as.map((email) => email.toLowerCase()),
        bootstrapAdminApiKey: galaxy.bootstrap_admin_api_key,
        cookiePath: galaxy.cookie_path ?? (prefix || '/'),
        cookieDomain: galaxy.cookie_domain,
      },
      http: {
        listen: this.#listen(),
        prefix,
        allowedOrigins: sse.allowed_origins,
        infrastructureUrl: galaxy.galaxy_infrastructure_url,
        apiRateLimit: sse.api_rate_limit,
        trustProxy: sse.trust_proxy,
      },
      metricsListen: tcpAddress(sse.metrics_listen),
      monitorMetricsListen: tcpAddress(sse.monitor_metrics_listen),
      features: this.#features(),
      housekeeping: {
        auditPruneSeconds: galaxy.history_audit_table_prune_interval,
        expiredNotificationsSeconds: galaxy.expired_notifications_cleanup_interval,
      },
      statsd: this.#statsd(),
      queueMetricsIntervalSeconds: galaxy.queue_metrics_interval,
      enableSseConnectionMetrics: galaxy.enable_sse_connection_metrics,
      warnings: [...earlierWarnings, ...this.#warnings],
    });
  }

  #database(): DatabaseConfig {
    const { database_connection: url, database_engine_option_pool_size: poolSize } = this.#values.galaxy;
    const address = this.#parsed('database_connection', () =>
      parseDatabaseUrl(url, this.options.cwd, this.options.env),
    );
    // Never used: the recorded mistake prevents the start.
    if (!address) return { kind: 'sqlite', file: '', display: '' };
    return address.kind === 'postgresql' ? { ...address, poolSize } : address;
  }

  #bus(): BusConfig {
    const url = this.#values.galaxy.amqp_internal_connection;
    const address = url && this.#parsed('amqp_internal_connection', () => parseAmqpUrl(url));
    return address ? { kind: 'amqp', ...address } : { kind: 'in-process', display: 'in-process' };
  }

  #listen(): Config['http']['listen'] {
    const { listen, socket_mode: mode } = this.#values.sse;
    const address = parseListen(listen)!;
    if (!isLoopback(address) && this.#values.galaxy.id_secret === DEFAULT_ID_SECRET) {
      this.#warnings.push(
        `${this.#pathOf('galaxy', 'id_secret')}: the default is public and other machines can reach ${listen}; set a secret of your own`,
      );
    }
    return address.kind === 'tcp' ? address : { ...address, mode: Number.parseInt(mode, 8) };
  }

  #features(): FeatureConfig {
    const { galaxy, sse } = this.#values;
    const url = galaxy.interactivetoolsproxy_map;
    const map =
      url &&
      this.#parsed('interactivetoolsproxy_map', () =>
        parseDatabaseUrl(url, this.options.cwd, this.options.env),
      );
    const mapFile = sse.attach_to_galaxy ? undefined : resolve(this.options.cwd, galaxy.interactivetools_map);
    return {
      notifications: galaxy.enable_notification_system,
      interactiveTools: galaxy.interactivetools_enable,
      interactiveToolsMap: map ? (map.kind === 'sqlite' ? map.file : map.url) : mapFile,
      interactiveToolsPrefix: galaxy.interactivetools_prefix,
      interactiveToolsBasePath: galaxy.interactivetools_base_path,
      interactiveToolsProxyHost: galaxy.interactivetools_proxy_host,
      entryPointHosts: sse.entry_point_hosts,
    };
  }

  #statsd(): StatsdConfig | undefined {
    const { galaxy, sse } = this.#values;
    if (!galaxy.statsd_host) return undefined;
    const [plain, tagged] = sse.attach_to_galaxy
      ? (['galaxy-plain', 'galaxy-influxdb'] as const)
      : (['dogstatsd', 'telegraf'] as const);
    return {
      host: galaxy.statsd_host,
      port: galaxy.statsd_port,
      prefix: galaxy.statsd_prefix,
      form: galaxy.statsd_influxdb ? tagged : plain,
    };
  }

  #checkTogether(database: DatabaseConfig, bus: BusConfig): void {
    const { galaxy, sse } = this.#values;
    const amqpGiven = galaxy.amqp_internal_connection !== undefined;
    if (sse.attach_to_galaxy) {
      const at = this.#pathOf('sse', 'attach_to_galaxy');
      if (database.kind === 'sqlite' && database.file !== '') {
        this.mistakes.push(
          `${at}: needs Galaxy's PostgreSQL; set database_connection to the postgresql:// URL that Galaxy uses`,
        );
      }
      if (bus.kind === 'in-process' && !amqpGiven) {
        this.mistakes.push(
          `${at}: needs Galaxy's RabbitMQ; set amqp_internal_connection to the amqp:// URL that Galaxy uses`,
        );
      }
    }
    if (!galaxy.enable_sse_updates) {
      this.#warnings.push(
        `${this.#pathOf('galaxy', 'enable_sse_updates')}: is off, so the stream answers 403 and no tab receives changes; set it to true`,
      );
    }
    if (sse.workers > 1 && !amqpGiven) {
      this.mistakes.push(
        `${this.#pathOf('sse', 'workers')}: more than one worker needs a message broker; set amqp_internal_connection, or workers to 1`,
      );
    }
  }

  /** Runs the parser of a URL. Prefixes its mistake and its warnings with the path of the setting. */
  #parsed<T>(
    key: keyof SettingValues['galaxy'],
    parse: () => { address: T; warnings: string[] },
  ): T | undefined {
    const path = this.#pathOf('galaxy', key);
    try {
      const { address, warnings } = parse();
      this.#warnings.push(...warnings.map((warning) => `${path}: ${warning}`));
      return address;
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      this.mistakes.push(`${path}: ${error.message}`);
      return undefined;
    }
  }

  /** The path of the source that set it, or the plain key for a default. */
  #pathOf(section: 'galaxy' | 'sse', key: string): string {
    const source = this.settled.sourceOf(section, key);
    return source === 'default' ? `${section}.${key}` : source;
  }
}

/** The text has passed the check of its setting. */
function tcpAddress(text: string | undefined): TcpAddress | undefined {
  const address = text === undefined ? undefined : parseListen(text);
  return address?.kind === 'tcp' ? address : undefined;
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) deepFreeze(part);
  }
  return Object.freeze(value);
}
