/**
 * Parses database and broker URLs in Galaxy's syntax (SQLAlchemy's and kombu's) into URLs for the drivers.
 * The URLs contain passwords: no message quotes one, and `display` masks it.
 */
import { resolve } from 'node:path';
import { checkPort, completeOptions, type LibpqOptions, type LibpqServer } from './libpq.js';
import { SettingError } from './setting-error.js';

export type DatabaseAddress =
  | { kind: 'postgresql'; url: string; display: string }
  | { kind: 'sqlite'; file: string; display: string };

interface Parsed<T> {
  address: T;
  warnings: string[];
}

/** SQLAlchemy's syntax: a password may contain `/`, `?` and `#` unescaped, but not `@`; a user may contain `@`. */
const SQLALCHEMY =
  /^([a-z0-9_]+)(?:\+([a-z0-9_]+))?:\/\/(?:([^:/]*)(?::([^@]*))?@)?(?:(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?)?(?:\/([^?]*))?(?:\?(.*))?$/is;

type Environment = Readonly<Record<string, string | undefined>>;

/** Parameters of asyncpg and SQLAlchemy, which the server does not need. */
const OF_OTHER_DRIVERS = new Set(['prepared_statement_cache_size', 'async_fallback', 'executemany_mode']);

/** @param cwd the base of relative SQLite files; @param env the variables that libpq reads: `PG*`, `HOME` */
export function parseDatabaseUrl(text: string, cwd: string, env: Environment = {}): Parsed<DatabaseAddress> {
  const match = SQLALCHEMY.exec(text);
  if (!match) {
    throw new SettingError(
      'is not a database URL; write postgresql://user:password@host:5432/name or sqlite:///file',
    );
  }
  const dialect = match[1]!.toLowerCase();
  if (dialect === 'sqlite') return { address: sqliteAddress(match, cwd), warnings: [] };
  if (dialect === 'postgresql' || dialect === 'postgres') return postgresAddress(match, env);
  throw new SettingError(
    `names the database ${dialect}://, which is not supported; use postgresql:// or sqlite:///`,
  );
}

function sqliteAddress(match: RegExpExecArray, cwd: string): DatabaseAddress {
  const [, , , , , ipv6, host, , path] = match;
  if (ipv6 ?? host) {
    throw new SettingError(
      'has two slashes where SQLite needs three (sqlite:///relative) or four (sqlite:////absolute)',
    );
  }
  if (!path || path === ':memory:' || path.startsWith('file:')) {
    throw new SettingError(
      'keeps the database in memory, which no other process can read; name a file: sqlite:///file',
    );
  }
  const file = resolve(cwd, path);
  return { kind: 'sqlite', file, display: `sqlite:///${file}` };
}

function postgresAddress(match: RegExpExecArray, env: Environment): Parsed<DatabaseAddress> {
  const [, dialect, , user, password, ipv6, plainHost, port, database, query] = match;
  const old = dialect!.toLowerCase() === 'postgres';
  const given = new Map<string, string>();
  const give = (name: string, value: string | undefined): void => {
    if (value) given.set(name, value);
  };
  give('user', decoded(user));
  give('password', decoded(password));
  give('host', ipv6 ?? plainHost);
  give('port', port);
  give('dbname', database);
  // All before the last `@` is meant as the account. Without this, the rest of a password would be shown as a host or a name.
  if (`${plainHost ?? ''}${database ?? ''}`.includes('@'))
    throw new SettingError('has more than one @; in a user or a password write %40 for @');
  // Parameters of the query override the rest of the URL, as in SQLAlchemy.
  const parameters = new URLSearchParams(query ?? '');
  for (const [name, value] of parameters) {
    if (name !== 'host' && !OF_OTHER_DRIVERS.has(name)) give(name === 'database' ? 'dbname' : name, value);
  }
  giveHosts(parameters, given);
  const { options, servers, warnings } = completeOptions(given, env);
  if (old) warnings.push('postgres:// is an old name that Galaxy refuses; write postgresql://');
  return { address: { kind: 'postgresql', ...written(options, servers) }, warnings };
}

/** Reads `host=a,b&port=1,2` (libpq's syntax) or `host=a:1&host=b:2` (SQLAlchemy's). */
function giveHosts(parameters: URLSearchParams, given: Map<string, string>): void {
  const hosts = parameters.getAll('host').filter((host) => host !== '');
  const parts = hosts.map((host) => {
    const [, name = host, port = ''] = /^([^:/]+|\[.*\])(?::(\d+))?$/.exec(host) ?? [];
    return { name: name.replace(/[[\]]/g, ''), port };
  });
  if (parts.length > 1 || parts[0]?.port) {
    if (parts.length > 1 && given.has('port')) {
      throw new SettingError('has several host= and a port; write host=a:1&host=b:2, or host=a,b&port=1,2');
    }
    given.set('port', parts.map(({ port }) => port).join(','));
  }
  if (parts.length > 0) given.set('host', parts.map(({ name }) => name).join(','));
}

/** Writes complete URLs: every part is present and escaped. `;` separates several servers. */
function written(options: LibpqOptions, servers: LibpqServer[]): { url: string; display: string } {
  const { dbname, user, password, passfile, ...others } = options;
  const account = { user: user!, password: password ?? '' };
  const urls = servers.map(({ place, port, name }) => {
    const parameters = new URLSearchParams(others);
    for (const part of ['host', 'hostaddr', 'port']) parameters.delete(part);
    if (!password && passfile) parameters.set('passfile', passfile);
    // The certificate names the host, not the address that the driver connects to.
    if (name) parameters.set('tlsname', name);
    return `postgresql://${credentials(account)}${encodeURIComponent(place)}:${port}/${encodeURIComponent(dbname!)}?${parameters}`;
  });
  const places = servers.map(({ place, port }) => `${place.includes(':') ? `[${place}]` : place}:${port}`);
  return { url: urls.join(';'), display: `postgresql://${masked(account)}${places.join(',')}/${dbname}` };
}

export interface AmqpAddress {
  /**
   * For amqplib: `amqp` or `amqps`, fully escaped, with the virtual host. `;` separates several URLs, which are tried in turn.
   */
  url: string;
  display: string;
}

const SCHEMES: Readonly<Record<string, string>> = { amqp: 'amqp', pyamqp: 'amqp', amqps: 'amqps' };
/** Scheme, `user:password`, host, port, path, query. The account ends at the last `@`, as in Python. */
const KOMBU =
  /^([a-z0-9+_-]+):\/\/(?:([^/?#]*)@)?(\[[^\]]+\]|[^:/?#@]*)(?::([^/?#]*))?(\/[^?#]*)?(?:\?([^#]*))?(?:#.*)?$/is;

/** Reads several brokers as kombu does: a bare host inherits all else from the first, a URL its missing parts from the previous one. */
export function parseAmqpUrl(text: string): Parsed<AmqpAddress> {
  const brokers: Broker[] = [];
  for (const part of text.split(';').map((one) => one.trim())) {
    const [first] = brokers;
    if (part === '' && first !== undefined) continue;
    const broker =
      first === undefined || part.includes('://')
        ? readBroker(part, brokers.at(-1))
        : { ...first, ...readHost(part, first) };
    brokers.push(broker);
  }
  return {
    address: {
      url: brokers.map(brokerUrl).join(';'),
      display: brokers.map(shownBroker).join(';'),
    },
    warnings: [...new Set(brokers.flatMap(({ warnings }) => warnings))],
  };
}

interface Broker {
  protocol: string;
  account: Account;
  host: string;
  port: string | number;
  virtualHost: string;
  /** Undefined for a connection without TLS. */
  tls: URLSearchParams | undefined;
  warnings: string[];
}

function readHost(text: string, first: Broker): Pick<Broker, 'host' | 'port'> {
  const [, host, port] = /^(\[[^\]]+\]|[^:/?#@]+)(?::([^/?#]*))?$/.exec(text) ?? [];
  if (host === undefined) throw new SettingError('names a further broker that is neither a URL nor a host');
  checkPort(port ?? '');
  return { host, port: port || first.port };
}

/** @param before the previous broker, whose parts replace kombu's defaults */
function readBroker(text: string, before: Broker | undefined): Broker {
  if (/^sqla(lchemy)?\+/i.test(text)) {
    throw new SettingError(
      'uses the database as message broker (sqlalchemy+…), which only Galaxy supports; set up RabbitMQ and write amqp://user:password@host:5672/vhost',
    );
  }
  const match = KOMBU.exec(text);
  if (!match) throw new SettingError('is not a broker URL; write amqp://user:password@host:5672/vhost');
  const [, name, userinfo = '', host, port, path, query] = match;
  const scheme = SCHEMES[name!.toLowerCase()];
  if (!scheme) {
    throw new SettingError(
      `names the broker ${name}://, which is not supported; use amqp://, amqps:// or pyamqp://`,
    );
  }
  checkPort(port ?? '');
  const { tls = before?.tls, warnings } = readBrokerTls(new URLSearchParams(query ?? ''));
  const protocol = tls === undefined ? scheme : 'amqps';
  const virtualHost = decoded(path?.slice(1)) || before?.virtualHost || '/';
  const colon = userinfo.indexOf(':');
  // kombu fills in the default account of the broker.
  const account = {
    user: decoded(colon === -1 ? userinfo : userinfo.slice(0, colon)) || 'guest',
    password: (colon !== -1 && decoded(userinfo.slice(colon + 1))) || 'guest',
  };
  return {
    protocol,
    account,
    host: decoded(host) || 'localhost',
    port: port || (before?.protocol === protocol ? before.port : protocol === 'amqps' ? 5671 : 5672),
    virtualHost,
    tls,
    warnings,
  };
}

function brokerUrl({ protocol, account, host, port, virtualHost, tls }: Broker): string {
  const parameters = tls !== undefined && tls.size > 0 ? `?${tls}` : '';
  return `${protocol}://${credentials(account)}${host}:${port}/${encodeURIComponent(virtualHost)}${parameters}`;
}

const shownBroker = ({ protocol, account, host, port, virtualHost }: Broker): string =>
  `${protocol}://${masked(account)}${host}:${port}/${virtualHost}`;

/** Lightcone chooses these itself. */
const WITHOUT_EFFECT = new Set(['heartbeat', 'connect_timeout']);
const TLS_PARAMETERS = new Set(['ssl_ca_certs', 'ssl_certfile', 'ssl_keyfile', 'ssl_cert_reqs']);

/** kombu enables TLS for any value of `ssl`, even `0` and `false`. @returns `tls` undefined without TLS */
function readBrokerTls(given: URLSearchParams): { tls: URLSearchParams | undefined; warnings: string[] } {
  const names = [...given.keys()].filter((name) => given.get(name) !== '');
  const usesTls = names.some((name) => name === 'ssl' || name.startsWith('ssl_'));
  const kept = names.filter((name) => TLS_PARAMETERS.has(name));
  const warnings = names
    .filter((name) => name !== 'ssl' && !TLS_PARAMETERS.has(name) && !WITHOUT_EFFECT.has(name))
    .map((name) => `the parameter ${name} of the broker URL is not used`);
  if (given.has('ssl') && /^(0|false|no|off)$/i.test(given.get('ssl')!)) {
    warnings.push('ssl= enables TLS whatever its value, as in Galaxy; remove it for a plain connection');
  }
  const tls = usesTls
    ? new URLSearchParams(kept.map((name): [string, string] => [name, given.get(name)!]))
    : undefined;
  return { tls, warnings };
}

interface Account {
  user: string;
  password: string;
}

function credentials({ user, password }: Account): string {
  if (!user && !password) return '';
  return `${encodeURIComponent(user)}${password ? `:${encodeURIComponent(password)}` : ''}@`;
}

const masked = ({ user, password }: Account): string =>
  user || password ? `${user}${password ? ':***' : ''}@` : '';

/** Decodes as Python does: an invalid escape stays as it is. */
const decoded = (part: string | undefined): string =>
  (part ?? '').replace(/(?:%[0-9a-f]{2})+/gi, (codes) =>
    Buffer.from(codes.replaceAll('%', ''), 'hex').toString('utf8'),
  );
