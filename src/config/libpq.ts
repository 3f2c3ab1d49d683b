/**
 * Completes a connection string as libpq, and so Galaxy, does: from the service file, `PG*` variables, files in the home
 * folder and libpq's defaults, in this order.
 */
import { existsSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { SettingError } from './setting-error.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** The supported options and the variable of each. */
const VARIABLES = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  options: 'PGOPTIONS',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslpassword: undefined,
  target_session_attrs: 'PGTARGETSESSIONATTRS',
} as const;
type Option = keyof typeof VARIABLES;
export type LibpqOptions = Partial<Record<Option, string>>;

/** One server of the lists `host`, `hostaddr` and `port`. */
export interface LibpqServer {
  /** A host name, an address, or the folder of a unix socket. */
  place: string;
  port: string;
  /** The name in the expected certificate, where `place` is an address. */
  name: string | undefined;
}

/** Options of libpq that Lightcone ignores: it has its own time-outs and names, and no Kerberos. */
const WITHOUT_EFFECT =
  /^(application_name|fallback_application_name|client_encoding|connect_timeout|keepalives.*|tcp_user_timeout|gss.*|krbsrvname|sslcompression|sslsni|service|requiressl)$/;

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];
/** Values that select a writable server. The others may select a read-only one, which neither Galaxy nor Lightcone can use. */
const SESSIONS = ['any', 'read-write', 'primary'];
const READING_SESSIONS = ['read-only', 'standby', 'prefer-standby'];
const DEBIAN_SOCKETS = '/var/run/postgresql';
const DEBIAN_SERVICES = '/etc/postgresql-common/pg_service.conf';

/**
 * @param given the options of the URL, as SQLAlchemy passes them to the driver
 * @throws SettingError for an option that libpq refuses
 */
export function completeOptions(
  given: ReadonlyMap<string, string>,
  env: Environment,
): { options: LibpqOptions; servers: LibpqServer[]; warnings: string[] } {
  const home = env.HOME || account()?.homedir || '/';
  const service = given.get('service') ?? env.PGSERVICE;
  const fromService = service ? readService(service, env, home) : new Map<string, string>();
  const options: LibpqOptions = {};
  for (const [name, variable] of Object.entries(VARIABLES) as [Option, string | undefined][]) {
    const value =
      given.get(name) ?? fromService.get(name) ?? (variable === undefined ? undefined : env[variable]);
    if (value) options[name] = value;
  }
  const unknown = [...given.keys(), ...fromService.keys()].filter(
    (name) => !(name in VARIABLES) && !WITHOUT_EFFECT.test(name) && name !== 'ssl',
  );
  options.user ??= accountName();
  options.dbname ??= options.user;
  readTls(options, given.get('ssl'), home);
  options.passfile ??= join(home, '.pgpass');
  checkSession(options.target_session_attrs);
  const warnings = unknown.map((name) => `the parameter ${name} of the URL is not used`);
  return { options, servers: readServers(options), warnings };
}

function readServers({ host, hostaddr, port }: LibpqOptions): LibpqServer[] {
  const list = (text: string | undefined): string[] | undefined => text?.split(',').map((one) => one.trim());
  const names = list(host);
  const addresses = list(hostaddr);
  const ports = list(port) ?? [''];
  const places = addresses ?? names ?? [''];
  if (names && names.length !== places.length) {
    throw new SettingError(
      `has ${names.length} in host and ${places.length} in hostaddr; give the same number of both`,
    );
  }
  if (ports.length !== 1 && ports.length !== places.length) {
    throw new SettingError(
      `names ${places.length} hosts and ${ports.length} ports; give one port, or one per host`,
    );
  }
  return places.map((place, at) => ({
    place: place || names?.[at] || DEBIAN_SOCKETS,
    port: checkPort(ports.length === 1 ? ports[0]! : ports[at]!) || '5432',
    name: (place && addresses && names?.[at]) || undefined,
  }));
}

export function checkPort(port: string): string {
  if (port === '' || (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) return port;
  throw new SettingError(
    'has a port that is not a number from 1 to 65535; in a user or a password write %2F for / and %40 for @',
  );
}

function checkSession(wish: string | undefined): void {
  if (wish === undefined || SESSIONS.includes(wish)) return;
  throw new SettingError(
    READING_SESSIONS.includes(wish)
      ? `has target_session_attrs=${wish}, which may select a read-only server; write primary`
      : `has an unknown target_session_attrs; write ${SESSIONS.join(', ')}`,
  );
}

/** The name of the account that runs this process. `USER` may be wrong or unset (cron, containers). */
function accountName(): string {
  const name = account()?.username;
  if (name === undefined) {
    throw new SettingError(
      'has no user, and the account of this process has no name; write postgresql://user@…',
    );
  }
  return name;
}

function account(): { username: string; homedir: string } | undefined {
  try {
    return userInfo();
  } catch {
    return undefined;
  }
}

/** @param ssl the option of asyncpg and pg8000 for TLS, which libpq does not know */
function readTls(options: LibpqOptions, ssl: string | undefined, home: string): void {
  if (ssl !== undefined && options.sslmode === undefined) {
    options.sslmode = MODES.includes(ssl) ? ssl : /^(false|0|off|no)$/i.test(ssl) ? 'disable' : 'require';
  }
  options.sslmode ??= 'prefer';
  if (!MODES.includes(options.sslmode)) {
    throw new SettingError(`has an unknown sslmode; write ${MODES.join(', ')}`);
  }
  const byDefault = (name: 'sslrootcert' | 'sslcert' | 'sslkey', file: string): void => {
    const path = join(home, '.postgresql', file);
    if (options[name] === undefined && existsSync(path)) options[name] = path;
  };
  byDefault('sslrootcert', 'root.crt');
  byDefault('sslcert', 'postgresql.crt');
  if (options.sslcert !== undefined) byDefault('sslkey', 'postgresql.key');
  if (options.sslmode === 'verify-ca' && options.sslrootcert === undefined) {
    throw new SettingError(
      'has sslmode=verify-ca without sslrootcert=FILE; add it or write sslmode=verify-full',
    );
  }
  for (const name of ['sslrootcert', 'sslcert', 'sslkey'] as const) {
    const path = options[name];
    if (path !== undefined && path !== 'system' && options.sslmode !== 'disable' && !existsSync(path)) {
      throw new SettingError(`names a file that does not exist: ${name}=${path}`);
    }
  }
}

function readService(name: string, env: Environment, home: string): Map<string, string> {
  const files = env.PGSERVICEFILE
    ? [env.PGSERVICEFILE]
    : [
        join(home, '.pg_service.conf'),
        env.PGSYSCONFDIR ? join(env.PGSYSCONFDIR, 'pg_service.conf') : DEBIAN_SERVICES,
      ];
  for (const file of files.filter((path) => existsSync(path))) {
    const lines = readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.trim());
    const start = lines.indexOf(`[${name}]`);
    if (start === -1) continue;
    const end = lines.findIndex((line, at) => at > start && line.startsWith('['));
    return new Map(
      lines
        .slice(start + 1, end === -1 ? undefined : end)
        .filter((line) => line.includes('=') && !line.startsWith('#'))
        .map((line) => [line.slice(0, line.indexOf('=')).trim(), line.slice(line.indexOf('=') + 1).trim()]),
    );
  }
  throw new SettingError(
    `names the service "${name}", which none of these files defines: ${files.join(', ')}`,
  );
}
