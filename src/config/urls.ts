/**
 * Database and broker URLs as Galaxy writes them (SQLAlchemy's and kombu's forms), turned into what the drivers take.
 * They hold passwords: no message here quotes one, and `display` is masked.
 */
import { resolve } from 'node:path';
import { SettingError } from './setting-error.js';

export type DatabaseAddress =
  | { kind: 'postgresql'; url: string; display: string }
  | { kind: 'sqlite'; file: string; display: string };

interface Parsed<T> {
  address: T;
  warnings: string[];
}

/** SQLAlchemy's own reading: a password may hold `/`, `?` and `#` unescaped, but not `@`. */
const SQLALCHEMY =
  /^([a-z0-9_]+)(?:\+([a-z0-9_]+))?:\/\/(?:([^:/@]*)(?::([^@]*))?@)?(?:(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?)?(?:\/([^?]*))?(?:\?(.*))?$/is;

/** @param cwd relative SQLite files are found from here */
export function parseDatabaseUrl(text: string, cwd: string): Parsed<DatabaseAddress> {
  const match = SQLALCHEMY.exec(text);
  if (!match) {
    throw new SettingError(
      'is not a database URL; write postgresql://user:password@host:5432/name or sqlite:///file',
    );
  }
  const dialect = match[1]!.toLowerCase();
  if (dialect === 'sqlite') return { address: sqliteAddress(match, cwd), warnings: [] };
  if (dialect === 'postgresql' || dialect === 'postgres') return postgresAddress(match);
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
      'keeps the database in memory, where no other process sees it; name a file: sqlite:///file',
    );
  }
  const file = resolve(cwd, path);
  return { kind: 'sqlite', file, display: `sqlite:///${file}` };
}

function postgresAddress(match: RegExpExecArray): Parsed<DatabaseAddress> {
  const [, dialect, , user, password, ipv6, plainHost, port, database, query] = match;
  const warnings: string[] = [];
  if (dialect!.toLowerCase() === 'postgres') {
    warnings.push('postgres:// is an old name that Galaxy refuses; write postgresql://');
  }
  if (!database) throw new SettingError('names no database; write postgresql://…/name');
  const parameters = new URLSearchParams(query ?? '');
  const hosts = parameters.getAll('host');
  if (hosts.length > 1 || [plainHost, ...hosts].some((host) => host?.includes(','))) {
    throw new SettingError('names several hosts; name one');
  }
  checkPort(port || parameters.get('port'));
  const host = ipv6 === undefined ? plainHost : `[${ipv6}]`;
  // libpq goes to the local socket when no host is named; the driver would go to localhost.
  if (!host && hosts.length === 0) parameters.set('host', '/var/run/postgresql');
  if (!host && port) parameters.set('port', port);
  readSslMode(parameters, warnings);

  const account = { user: decoded(user), password: decoded(password) };
  const place = `${host ? `${host}${port ? `:${port}` : ''}` : ''}/${encodeURI(database)}${
    parameters.size > 0 ? `?${parameters}` : ''
  }`;
  const shown = `${host ?? parameters.get('host') ?? ''}${port ? `:${port}` : ''}`;
  return {
    address: {
      kind: 'postgresql',
      url: `postgresql://${credentials(account)}${place}`,
      display: `postgresql://${masked(account)}${shown}/${database}`,
    },
    warnings,
  };
}

/** The driver reads `require` as "verify the certificate" unless told to read it as libpq, and so as Galaxy, does. */
function readSslMode(parameters: URLSearchParams, warnings: string[]): void {
  const mode = parameters.get('sslmode');
  if (mode === null) return;
  if (mode === 'allow' || mode === 'prefer') {
    parameters.delete('sslmode');
    warnings.push(`sslmode=${mode} is read as disable; write sslmode=require to encrypt`);
  } else if (mode === 'verify-ca' && !parameters.has('sslrootcert')) {
    throw new SettingError(
      'has sslmode=verify-ca without sslrootcert=FILE; add it or write sslmode=verify-full',
    );
  } else if (['disable', 'require', 'verify-ca', 'verify-full'].includes(mode)) {
    parameters.set('uselibpqcompat', 'true');
  } else {
    throw new SettingError('has an unknown sslmode; write disable, require, verify-ca or verify-full');
  }
}

export interface AmqpAddress {
  /** For amqplib: `amqp` or `amqps`, everything escaped, the virtual host always there. */
  url: string;
  display: string;
}

const KOMBU =
  /^([a-z0-9+_-]+):\/\/(?:([^:/@]*)(?::([^@/]*))?@)?(\[[^\]]+\]|[^:/?]*)(?::([^/?]*))?(\/[^?]*)?(?:\?(.*))?$/is;
const SCHEMES: Readonly<Record<string, string>> = { amqp: 'amqp', pyamqp: 'amqp', amqps: 'amqps' };

export function parseAmqpUrl(text: string): Parsed<AmqpAddress> {
  if (/^sqla(lchemy)?\+/i.test(text)) {
    throw new SettingError(
      'uses the database as message broker (sqlalchemy+…), which only Galaxy itself can read; set up RabbitMQ and write amqp://user:password@host:5672/vhost',
    );
  }
  if (text.includes(';')) throw new SettingError('names several brokers; name one');
  const match = KOMBU.exec(text);
  if (!match) throw new SettingError('is not a broker URL; write amqp://user:password@host:5672/vhost');
  const [, name, user, password, host, port, path, query] = match;
  const scheme = SCHEMES[name!.toLowerCase()];
  if (!scheme) {
    throw new SettingError(
      `names the broker ${name}://, which is not supported; use amqp://, amqps:// or pyamqp://`,
    );
  }
  checkPort(port);
  const virtualHost = decoded(path?.slice(1)) || '/';
  const parameters = new URLSearchParams(query ?? '');
  const heartbeat = parameters.get('heartbeat');
  parameters.delete('heartbeat');
  const warnings = [...parameters.keys()].map((key) => `the parameter ${key} of the broker URL is not used`);
  // A broker's own default account, as kombu fills it in.
  const account = { user: decoded(user) || 'guest', password: decoded(password) || 'guest' };
  const place = `${host || 'localhost'}:${port || (scheme === 'amqps' ? 5671 : 5672)}`;
  return {
    address: {
      url: `${scheme}://${credentials(account)}${place}/${encodeURIComponent(virtualHost)}${
        heartbeat ? `?heartbeat=${encodeURIComponent(heartbeat)}` : ''
      }`,
      display: `${scheme}://${masked(account)}${place}/${virtualHost}`,
    },
    warnings,
  };
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

function decoded(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? '');
  } catch {
    throw new SettingError('holds a % that no two hexadecimal digits follow; write %25 for the sign itself');
  }
}

function checkPort(port: string | null | undefined): void {
  if (port && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) {
    throw new SettingError('has a port that is not a number from 1 to 65535');
  }
}
