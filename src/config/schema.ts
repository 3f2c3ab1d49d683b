/**
 * Every setting, written once. `galaxy` holds the keys of Galaxy's own section that Lightcone reads, with Galaxy's
 * defaults; `sse` is Lightcone's own section.
 */
import { parseListen } from './listen.js';
import { isProxy } from './proxies.js';
import { bool, int, list, number, optionalText, text, type ValuesOf } from './setting.js';

/** Galaxy's default, known to everybody: whoever uses it lets others forge cookies and ids. */
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
    doc: 'Serve the stream and run the monitor. When off, the stream answers 403 and clients poll. Beside a Galaxy it is off unless the file says otherwise, as it is for Galaxy.',
  }),
  enable_notification_system: bool(false, {
    embedded: true,
    doc: 'Notifications and broadcasts, their API and their events.',
  }),
  history_audit_monitor_poll_interval: number(2, {
    min: 0.1,
    max: 3600,
    unit: 's',
    doc: 'How often the audit table is read where there is no LISTEN; 1 to 5 recommended.',
  }),
  database_connection: text('sqlite:///data/lightcone.sqlite', {
    secret: true,
    doc: 'SQLAlchemy URL of the database: `postgresql://user:password@host:5432/name`, `postgresql:///name?host=/var/run/postgresql`, `postgresql://user@host1,host2/name?target_session_attrs=primary` (tried in turn), `sqlite:///relative.sqlite`, `sqlite:////absolute.sqlite`. What it leaves open is as in libpq: `sslmode=prefer`, `PG*` variables, `~/.pgpass`, service files. The tables are created on start unless `attach_to_galaxy` is on.',
  }),
  database_engine_option_pool_size: int(5, {
    min: 1,
    max: 100,
    doc: 'PostgreSQL connections per process for requests. Beside them a worker opens up to two for tabs that come back, and whoever leads two for the monitor, one for LISTEN and one for its lock. Open streams hold none.',
  }),
  amqp_internal_connection: optionalText({
    secret: true,
    doc: 'URL of the message broker: `amqp://user:password@host:5672/vhost`, `amqps://…`, `pyamqp://…`; `//` at the end means the virtual host `/`, `?ssl=1` TLS. Several brokers of one cluster stand behind each other with `;` between them, and are tried in turn. Unset: the bus lives inside the one process.',
  }),
  id_secret: text(DEFAULT_ID_SECRET, {
    secret: true,
    must: 'text of 5 to 56 bytes',
    accepts: (value) => Buffer.byteLength(value) >= 5 && Buffer.byteLength(value) <= 56,
    doc: 'The key of encoded ids and session cookies, 5 to 56 bytes; beside a Galaxy the same as there.',
  }),
  server_name: text('main', {
    must: 'text of 1 to 200 characters without blanks',
    accepts: (value) => /^[\x21-\x7e]{1,200}$/.test(value),
    doc: 'Name of this server in `worker_process` and in queue names; a worker number is appended. No two servers on one host may share it.',
  }),
  admin_users: list({ doc: 'E-mail addresses of administrators, with commas between.' }),
  api_allow_run_as: list({ doc: 'E-mail addresses of users whose API keys may act for others (`run-as`).' }),
  bootstrap_admin_api_key: optionalText({
    secret: true,
    must: 'text of at least 8 characters',
    accepts: (value) => value.length >= 8,
    doc: 'A key that acts as an administrator without being a user.',
  }),
  cookie_path: optionalText({
    must: 'a path that begins with /',
    accepts: isUrlPath,
    doc: 'Path of the session cookie; unset: the URL prefix.',
  }),
  cookie_domain: optionalText({
    must: 'a domain name',
    accepts: (value) => /^[A-Za-z0-9.-]+$/.test(value),
    doc: 'Domain of the session cookie.',
  }),
  galaxy_url_prefix: text('/', {
    must: 'a path that begins with /, such as /galaxy',
    accepts: isUrlPath,
    doc: 'The URL prefix under which everything is served.',
  }),
  galaxy_infrastructure_url: text('http://localhost:8080', {
    must: 'an http:// or https:// URL',
    accepts: (value) => /^https?:\/\//.test(value) && URL.canParse(value),
    doc: 'The address under which users reach this server; used in links of notifications.',
  }),
  history_audit_table_prune_interval: int(3600, {
    min: 0,
    unit: 's',
    doc: 'How often the leader prunes `history_audit`; 0 = never. Standalone only.',
  }),
  expired_notifications_cleanup_interval: int(86_400, {
    min: 0,
    unit: 's',
    doc: 'How often the leader deletes expired notifications; 0 = never. Standalone only.',
  }),
  interactivetools_enable: bool(false, { doc: 'Entry points of interactive tools and their events.' }),
  interactivetools_map: text('data/interactivetools_map.sqlite', {
    doc: 'SQLite file that the interactive-tools proxy reads.',
  }),
  interactivetoolsproxy_map: optionalText({
    secret: true,
    doc: 'Database URL of the interactive-tools map; wins over `interactivetools_map`.',
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
  statsd_host: optionalText({ doc: 'Where metrics go, by UDP; unset: no metrics.' }),
  statsd_port: int(8125, { min: 1, max: 65_535, doc: 'Port of the statsd server.' }),
  statsd_prefix: text('galaxy', {
    must: 'text without blanks, control characters and : | # @ ,',
    accepts: (value) => /^[^\s\p{Cc}:|#@,]+$/u.test(value),
    doc: 'Replaces the leading `galaxy` of metric names; with `attach_to_galaxy` it stands in front of it, as Galaxy writes it.',
  }),
  statsd_influxdb: bool(false, { doc: 'Write tags in the Telegraf form.' }),
  queue_metrics_interval: int(15, {
    min: 0,
    max: 86_400,
    unit: 's',
    doc: 'Time between gauges; 0 switches them off.',
  }),
  enable_sse_connection_metrics: bool(false, { doc: 'Send the gauge of open connections.' }),
} as const;

export const SSE_SETTINGS = {
  listen: text('127.0.0.1:8080', {
    must: 'host:port, [::1]:port or unix:/path',
    accepts: (value) => parseListen(value) !== undefined,
    doc: 'Where to listen: `host:port`, `[::1]:port` or `unix:/path`.',
  }),
  socket_mode: text('0660', {
    must: 'an octal mode, such as "0660"',
    accepts: (value) => /^0?[0-7]{3}$/.test(value),
    doc: 'Permissions of the unix socket, octal.',
  }),
  metrics_listen: optionalText({
    must: 'host:port or [::1]:port',
    accepts: isTcpAddress,
    doc: 'Where `serve` tells its metrics and health, of all workers together, each series with the label `process`: `host:port`, for your own machines only. Unset: at the paths of `listen` alone, where each answer is from one worker.',
  }),
  monitor_metrics_listen: optionalText({
    must: 'host:port or [::1]:port',
    accepts: isTcpAddress,
    doc: 'Where `sse-monitor` tells its metrics and health: `host:port`, for your own machines only. It has no other address. Unset: nowhere.',
  }),
  workers: int(1, {
    min: 1,
    max: 256,
    doc: 'Worker processes. More than one needs `amqp_internal_connection`.',
  }),
  attach_to_galaxy: bool(false, {
    doc: "Stand beside a running Galaxy, on its PostgreSQL and RabbitMQ. Nothing but the monitor's heartbeat is written to its tables.",
  }),
  keepalive_interval: int(30, {
    min: 1,
    max: 3600,
    unit: 's',
    doc: 'Silence after which a stream gets a keepalive comment. Keep it below the read timeout of every proxy.',
  }),
  queue_size: int(64, { min: 1, max: 10_000, doc: 'Events that may wait for one tab.' }),
  debounce: number(0.2, {
    min: 0,
    max: 60,
    unit: 's',
    doc: 'Further changes of a history within this time are merged into one event.',
  }),
  heartbeat_interval: number(5, {
    attached: 60,
    min: 0.1,
    max: 60,
    unit: 's',
    doc: 'Time between two heartbeats in `worker_process`.',
  }),
  recent_window: number(900, {
    min: 0,
    max: 86_400,
    unit: 's',
    doc: 'How long deliveries are remembered, so that a returning tab is caught up without the database.',
  }),
  row_clock_difference: number(10, {
    min: 0,
    max: 3600,
    unit: 's',
    doc: 'How far the clocks that stamp rows (of Galaxy: those of its hosts) may differ from the clock of the database. What is asked for by a time is looked for from so much earlier on. `lightcone doctor` says how far they do.',
  }),
  max_connections: int(20_000, {
    min: 1,
    doc: 'Streams per worker; beyond it the answer is 503 with Retry-After. Each needs a file descriptor.',
  }),
  max_connections_per_user: int(50, {
    min: 1,
    doc: 'Streams per user and worker; beyond it the answer is 429 with Retry-After.',
  }),
  max_connections_per_address: int(0, {
    min: 0,
    doc: 'Streams without a login per address and worker; beyond it the answer is 429 with Retry-After; 0 = no limit. Behind a proxy it needs `trust_proxy`.',
  }),
  api_rate_limit: number(100, {
    min: 0,
    max: 100_000,
    doc: 'Requests per second that one user (or, without a login, one address) may send to the API, ten times as many at once; beyond it the answer is 429 with Retry-After; 0 = no limit. What is dear counts as several (docs/security.md). The stream is not counted.',
  }),
  trust_proxy: list({
    must: 'a list of addresses, networks such as 10.0.0.0/8, loopback and unix',
    accepts: isProxy,
    doc: 'Whose `X-Forwarded-For` (or `X-Real-IP`) tells the address of the caller: addresses and networks of proxies, `loopback` for this machine, `unix` for whoever may write to the unix socket. Nobody by default.',
  }),
  drain_timeout: number(30, {
    min: 0,
    max: 3600,
    unit: 's',
    doc: 'Longest time of a graceful stop.',
  }),
  write_timeout: int(60, {
    min: 1,
    max: 3600,
    unit: 's',
    doc: 'A tab that takes nothing for this long is closed.',
  }),
  permission_check_interval: int(25, {
    min: 1,
    max: 30,
    unit: 's',
    doc: 'How often the permission of open streams is looked at; they outlive a revocation by at most twice this.',
  }),
  entry_point_hosts: list({
    doc: 'Names, addresses and networks that entry points may lead to although they are link-local, multicast or metadata services.',
  }),
  node_internals: bool(true, {
    doc: 'Take shortcuts that lean on internals of Node.js: less memory per stream and less CPU per delivery. `false` does the same without them; try it where a new version of Node.js misbehaves.',
  }),
  allowed_origins: list({
    must: 'a list of origins such as https://galaxy.example.org (no path, no *)',
    accepts: isOrigin,
    doc: 'Origins that may send requests with credentials; empty: only the own one.',
  }),
  log_level: text('info', {
    must: `one of ${LOG_LEVELS.join(', ')}`,
    accepts: (value) => (LOG_LEVELS as readonly string[]).includes(value),
    doc: `How much is logged: ${LOG_LEVELS.join(', ')}.`,
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

/** Keys that are gone, and what took their place. */
export const REMOVED_KEYS: Readonly<Record<string, string>> = {
  enable_sse_history_updates: 'enable_sse_updates',
  enable_sse_entry_point_updates: 'enable_sse_updates',
  master_api_key: 'bootstrap_admin_api_key',
};

/** Galaxy's keys that are near to ours in spelling but are not mistakes. */
export const OTHER_GALAXY_KEYS: ReadonlySet<string> = new Set([
  'database_engine_option_pool_recycle',
  'database_engine_option_max_overflow',
  'database_engine_option_pool_timeout',
  'install_database_connection',
  'interactivetools_upstream_proxy',
  'interactivetools_shorten_url',
  'statsd_mock_calls',
  'dispatch_notifications_interval',
]);

/** Galaxy's ways of signing in that Lightcone alone does not offer: said at the start, so that nobody relies on them. */
export const NOT_OFFERED_STANDALONE = [
  'single_user',
  'use_remote_user',
  'require_login',
  'session_duration',
  'enable_oidc',
] as const;
