/**
 * The catalogue of settings. `galaxy` lists the keys of Galaxy's own section that Lightcone reads, with Galaxy's
 * defaults. `sse` is Lightcone's own section.
 */
import { parseListen } from './listen.js';
import { isProxy } from './proxies.js';
import { bool, int, list, number, optionalText, text, type ValuesOf } from './setting.js';

/** Galaxy's public default. With it, anybody can forge cookies and ids. */
export const DEFAULT_ID_SECRET = 'USING THE DEFAULT IS NOT SECURE!';
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const isUrlPath = (value: string): boolean =>
  /^(\/[A-Za-z0-9._~-]+)*\/?$/.test(value) && value.startsWith('/');

function isOrigin(value: string): boolean {
  try {
    const url = new URL(value);
    return /^https?:$/.test(url.protocol) && url.origin === value;
  } catch {
    return false;
  }
}

const isTcpAddress = (value: string): boolean => parseListen(value)?.kind === 'tcp';

export const GALAXY_SETTINGS = {
  enable_sse_updates: bool(true, {
    attached: false,
    doc: 'Serves the stream and runs the monitor. When off, the stream answers 403 and clients poll. Beside a Galaxy it is off by default, as in Galaxy.',
  }),
  enable_notification_system: bool(false, {
    embedded: true,
    doc: 'Enables notifications and broadcasts, their API and their events.',
  }),
  history_audit_monitor_poll_interval: number(2, {
    min: 0.1,
    max: 3600,
    unit: 's',
    doc: 'Interval at which the monitor reads the audit table where LISTEN is not available; 1 to 5 recommended.',
  }),
  database_connection: text('sqlite:///data/lightcone.sqlite', {
    secret: true,
    doc: 'SQLAlchemy URL of the database: `postgresql://user:password@host:5432/name`, `postgresql:///name?host=/var/run/postgresql`, `postgresql://user@host1,host2/name?target_session_attrs=primary` (tried in turn), `sqlite:///relative.sqlite`, `sqlite:////absolute.sqlite`. Missing parts are completed as libpq does: `sslmode=prefer`, `PG*` variables, `~/.pgpass`, service files. Lightcone creates its tables at the start unless `attach_to_galaxy` is on.',
  }),
  database_engine_option_pool_size: int(5, {
    min: 1,
    max: 100,
    doc: 'PostgreSQL connections per process for requests. A worker opens up to two more for tabs that reconnect. The leader opens two more for the monitor, one for LISTEN and one for its lock. Open streams hold none.',
  }),
  amqp_internal_connection: optionalText({
    secret: true,
    doc: 'URL of the message broker: `amqp://user:password@host:5672/vhost`, `amqps://…`, `pyamqp://…`. A trailing `//` means the virtual host `/`, and `?ssl=1` means TLS. Several brokers of one cluster are separated by `;` and tried in turn. Unset: an in-process bus, for one process only.',
  }),
  id_secret: text(DEFAULT_ID_SECRET, {
    secret: true,
    must: 'text of 5 to 56 bytes',
    accepts: (value) => Buffer.byteLength(value) >= 5 && Buffer.byteLength(value) <= 56,
    doc: 'Secret that encodes ids and session cookies, 5 to 56 bytes. Beside a Galaxy it must equal that of Galaxy.',
  }),
  server_name: text('main', {
    must: 'text of 1 to 200 characters without blanks',
    accepts: (value) => /^[\x21-\x7e]{1,200}$/.test(value),
    doc: 'Name of this server in `worker_process` and in queue names; the worker number is appended. It must be unique on the host.',
  }),
  admin_users: list({ doc: 'E-mail addresses of administrators, separated by commas.' }),
  api_allow_run_as: list({ doc: 'E-mail addresses of users whose API keys may act for others (`run-as`).' }),
  bootstrap_admin_api_key: optionalText({
    secret: true,
    must: 'text of at least 8 characters',
    accepts: (value) => value.length >= 8,
    doc: 'API key with the rights of an administrator that belongs to no user.',
  }),
  cookie_path: optionalText({
    must: 'a path that begins with /',
    accepts: isUrlPath,
    doc: 'Path of the session cookie. Unset: the URL prefix.',
  }),
  cookie_domain: optionalText({
    must: 'a domain name',
    accepts: (value) => /^[A-Za-z0-9.-]+$/.test(value),
    doc: 'Domain of the session cookie.',
  }),
  galaxy_url_prefix: text('/', {
    must: 'a path that begins with /, such as /galaxy',
    accepts: isUrlPath,
    doc: 'URL prefix of all routes.',
  }),
  galaxy_infrastructure_url: text('http://localhost:8080', {
    must: 'an http:// or https:// URL',
    accepts: (value) => /^https?:\/\//.test(value) && URL.canParse(value),
    doc: 'Public URL of this server, used in links of notifications.',
  }),
  history_audit_table_prune_interval: int(3600, {
    min: 0,
    unit: 's',
    doc: 'Interval at which the leader prunes `history_audit`; 0 = never. Standalone only.',
  }),
  expired_notifications_cleanup_interval: int(86_400, {
    min: 0,
    unit: 's',
    doc: 'Interval at which the leader deletes expired notifications; 0 = never. Standalone only.',
  }),
  interactivetools_enable: bool(false, {
    doc: 'Enables entry points of interactive tools and their events.',
  }),
  interactivetools_map: text('data/interactivetools_map.sqlite', {
    doc: 'SQLite file that the interactive-tools proxy reads.',
  }),
  interactivetoolsproxy_map: optionalText({
    secret: true,
    doc: 'Database URL of the interactive-tools map; overrides `interactivetools_map`.',
  }),
  interactivetools_prefix: text('interactivetool', {
    must: 'one word of letters, digits and hyphens',
    accepts: (value) => /^[A-Za-z0-9-]+$/.test(value),
    doc: 'First part of the host name of an entry point.',
  }),
  interactivetools_base_path: text('/', {
    must: 'a path that begins with /',
    accepts: isUrlPath,
    doc: 'Base path of entry points that are reached by path.',
  }),
  interactivetools_proxy_host: optionalText({ doc: '`host[:port]` of the interactive-tools proxy.' }),
  statsd_host: optionalText({
    doc: 'Host of the statsd server, which receives metrics over UDP. Unset: no statsd.',
  }),
  statsd_port: int(8125, { min: 1, max: 65_535, doc: 'Port of the statsd server.' }),
  statsd_prefix: text('galaxy', {
    must: 'text without blanks, control characters and : | # @ ,',
    accepts: (value) => /^[^\s\p{Cc}:|#@,]+$/u.test(value),
    doc: 'Replaces the leading `galaxy` of metric names. With `attach_to_galaxy` it precedes the whole name, as in Galaxy.',
  }),
  statsd_influxdb: bool(false, { doc: 'Writes tags in the Telegraf format.' }),
  queue_metrics_interval: int(15, {
    min: 0,
    max: 86_400,
    unit: 's',
    doc: 'Interval at which gauges are sent; 0 = never.',
  }),
  enable_sse_connection_metrics: bool(false, { doc: 'Sends the gauge of open connections.' }),
} as const;

export const SSE_SETTINGS = {
  listen: text('127.0.0.1:8080', {
    must: 'host:port, [::1]:port or unix:/path (a port up to 65535, a path of at most 107 bytes)',
    accepts: (value) => parseListen(value) !== undefined,
    doc: 'Address of the server: `host:port`, `[::1]:port` or `unix:/path`.',
  }),
  socket_mode: text('0660', {
    must: 'an octal mode, such as "0660"',
    accepts: (value) => /^0?[0-7]{3}$/.test(value),
    doc: 'Permissions of the unix socket, octal.',
  }),
  metrics_listen: optionalText({
    must: 'host:port or [::1]:port',
    accepts: isTcpAddress,
    doc: 'Address `host:port` at which `serve` serves the metrics and health of all workers together; each series has the label `process`. Make it reachable for your own machines only. Unset: only the paths of `listen` serve them, and each answer is from one worker.',
  }),
  monitor_metrics_listen: optionalText({
    must: 'host:port or [::1]:port',
    accepts: isTcpAddress,
    doc: 'Address `host:port` at which `sse-monitor` serves its metrics and health. Make it reachable for your own machines only. Unset: it serves none.',
  }),
  workers: int(1, {
    min: 1,
    max: 256,
    doc: 'Number of worker processes. More than one needs `amqp_internal_connection`.',
  }),
  attach_to_galaxy: bool(false, {
    doc: "Runs beside a Galaxy, on its PostgreSQL and RabbitMQ. Lightcone then writes only the monitor's heartbeat to Galaxy's tables.",
  }),
  keepalive_interval: int(30, {
    min: 1,
    max: 3600,
    unit: 's',
    doc: 'Silence after which a worker writes a keepalive comment to a stream. Keep it below the read timeout of every proxy.',
  }),
  queue_size: int(64, { min: 1, max: 10_000, doc: 'Maximum number of events that wait for one tab.' }),
  debounce: number(0.2, {
    min: 0,
    max: 60,
    unit: 's',
    doc: 'Time within which further changes of a history are merged into one event.',
  }),
  heartbeat_interval: number(5, {
    attached: 60,
    min: 0.1,
    max: 60,
    unit: 's',
    doc: 'Interval of heartbeats in `worker_process`.',
  }),
  recent_window: number(900, {
    min: 0,
    max: 86_400,
    unit: 's',
    doc: 'Time for which a worker keeps delivered events in memory, so that it catches up reconnecting tabs without the database.',
  }),
  row_clock_difference: number(10, {
    min: 0,
    max: 3600,
    unit: 's',
    doc: "Maximum difference between the clocks that stamp rows (those of Galaxy's hosts) and the clock of the database. Reads by time begin that much earlier. `lightcone doctor` shows the actual difference.",
  }),
  max_connections: int(20_000, {
    min: 1,
    doc: 'Maximum number of streams per worker; beyond it the answer is 503 with Retry-After. Each stream needs a file descriptor.',
  }),
  max_connections_per_user: int(50, {
    min: 1,
    doc: 'Maximum number of streams per user and worker; beyond it the answer is 429 with Retry-After.',
  }),
  max_connections_per_address: int(0, {
    min: 0,
    doc: 'Maximum number of streams without a login per address and worker; beyond it the answer is 429 with Retry-After; 0 = no limit. Behind a proxy it needs `trust_proxy`.',
  }),
  api_rate_limit: number(100, {
    min: 0,
    max: 100_000,
    doc: 'Maximum number of API requests per second and user (per address without a login); a burst may have ten times as many. Beyond it the answer is 429 with Retry-After; 0 = no limit. Expensive requests count as several (docs/security.md). Streams do not count.',
  }),
  trust_proxy: list({
    must: 'a list of addresses, networks such as 10.0.0.0/8, loopback and unix',
    accepts: isProxy,
    doc: 'Proxies whose `X-Forwarded-For` (or `X-Real-IP`) header gives the address of the caller: addresses, networks, `loopback` for this machine, `unix` for every program that may write to the unix socket. Empty: none.',
  }),
  drain_timeout: number(30, {
    min: 0,
    max: 3600,
    unit: 's',
    doc: 'Maximum duration of a graceful stop.',
  }),
  write_timeout: int(60, {
    min: 1,
    max: 3600,
    unit: 's',
    doc: 'Time after which a worker closes the stream of a tab that reads nothing.',
  }),
  permission_check_interval: int(25, {
    min: 1,
    max: 30,
    unit: 's',
    doc: 'Interval at which a worker checks the permissions of open streams. A stream ends at most twice this time after a revocation.',
  }),
  entry_point_hosts: list({
    doc: 'Link-local, multicast and metadata addresses, networks and names that entry points may have as targets nevertheless.',
  }),
  node_internals: bool(true, {
    doc: 'Uses internals of Node.js, which saves memory per stream and CPU per delivery. `false` uses public interfaces only; try it where a new version of Node.js misbehaves.',
  }),
  allowed_origins: list({
    must: 'a list of origins such as https://galaxy.example.org (no path, no *)',
    accepts: isOrigin,
    doc: 'Origins that may send requests with credentials. Empty: only its own origin.',
  }),
  log_level: text('info', {
    must: `one of ${LOG_LEVELS.join(', ')}`,
    accepts: (value) => (LOG_LEVELS as readonly string[]).includes(value),
    doc: `Level of the log: ${LOG_LEVELS.join(', ')}.`,
  }),
} as const;

export const SETTINGS = { galaxy: GALAXY_SETTINGS, sse: SSE_SETTINGS } as const;
export type Section = keyof typeof SETTINGS;
export type GalaxyKey = keyof typeof GALAXY_SETTINGS;
export type SseKey = keyof typeof SSE_SETTINGS;

export interface SettingValues {
  readonly galaxy: ValuesOf<typeof GALAXY_SETTINGS>;
  readonly sse: ValuesOf<typeof SSE_SETTINGS>;
}

/** Removed keys and their replacements. */
export const REMOVED_KEYS: Readonly<Record<string, string>> = {
  enable_sse_history_updates: 'enable_sse_updates',
  enable_sse_entry_point_updates: 'enable_sse_updates',
  master_api_key: 'bootstrap_admin_api_key',
};

/** Galaxy's keys whose spelling is close to ours. They are no misspellings. */
export const OTHER_GALAXY_KEYS: ReadonlySet<string> = new Set([
  'database_engine_option_pool_recycle',
  'database_engine_option_max_overflow',
  'database_engine_option_pool_timeout',
  'install_database_connection',
  'interactivetools_upstream_proxy',
  'interactivetools_shorten_url',
  'statsd_mock_calls',
  'dispatch_notifications_interval',
  'log_level',
]);

/** Sign-in options of Galaxy that a standalone Lightcone lacks. The start warns of them, so that nobody relies on them. */
export const NOT_OFFERED_STANDALONE = [
  'single_user',
  'use_remote_user',
  'require_login',
  'session_duration',
  'enable_oidc',
] as const;
