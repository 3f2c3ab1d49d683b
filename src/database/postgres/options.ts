import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import * as nodeTls from 'node:tls';
import type { ClientBase, ClientConfig } from 'pg';
import pg from 'pg';
import { NegotiatingSocket, type TlsWish } from './negotiating-socket.js';
import { passwordFromFile } from './password-file.js';

const INT8 = 20;
const TIMESTAMP = 1114;

/**
 * Timestamps stay text: the driver would read them as local time and lose the microseconds. Counts (int8) become
 * numbers. The parsers are set per connection, so that another user of `pg` in this process keeps its own.
 */
const types: NonNullable<ClientConfig['types']> = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === TIMESTAMP) return (text: string) => text;
    if (oid === INT8) return Number;
    return pg.types.getTypeParser(oid, format as 'text');
  },
};

/** Limit for a server that accepts and then stays silent. */
export const CONNECT_TIMEOUT_MS = 5_000;
const QUERY_TIMEOUT_MS = 10_000;

/**
 * Limits that the server enforces before the driver gives up: an abandoned statement would stay there and hold its
 * session and its locks as long as it waits. Not for LISTEN and the leader's lock, which do not wait.
 */
export const SERVER_LIMITS = {
  lock_timeout: 4_000,
  statement_timeout: 8_000,
  idle_in_transaction_session_timeout: 10_000,
} as const;

/** Options of every connection of Lightcone. @param url complete, of one server, from `config/urls.ts` */
export function clientOptions(url: string, applicationName = 'lightcone') {
  const { host, port, user, password, database, parameters } = read(url);
  const file = parameters.get('passfile');
  const named = parameters.get('tlsname') ?? host;
  return {
    host,
    port: Number(port),
    user,
    database,
    password: async () => {
      const found =
        password || (file && (await passwordFromFile(file, { host: named, port, database, user })));
      if (found) return found;
      throw new Error('the server requires a password, but database_connection has none');
    },
    options: parameters.get('options') ?? undefined,
    // The sockets negotiate TLS.
    ssl: false,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types,
  } satisfies ClientConfig;
}

/**
 * Sets what our statements rely on and an administrator may have changed for the role, the database or the server: the
 * format of timestamps, and the meaning of a backslash in a literal. PgBouncer tracks both.
 */
export async function prepareSession(client: ClientBase): Promise<void> {
  await client.query("SET DateStyle = 'ISO, MDY'; SET standard_conforming_strings = on");
}

/**
 * Gives access to the sockets of a client or a pool, so that they can be destroyed: the driver closes a connection
 * politely, which never ends on a silent one.
 */
export class Sockets {
  readonly #open = new Set<Duplex>();
  readonly #create: () => Duplex;

  constructor(url: string) {
    const { host, parameters } = read(url);
    const mode = parameters.get('sslmode') ?? 'prefer';
    // As in libpq, a unix socket has no TLS, whatever the settings say.
    this.#create =
      mode === 'disable' || host.startsWith('/')
        ? () => new Socket()
        : () => new NegotiatingSocket(wishOf(mode), () => tlsOptions(mode, parameters));
  }

  /** For the driver's option `stream`. */
  readonly stream = (): Duplex => {
    const socket = this.#create();
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    return socket;
  };

  destroy(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

const wishOf = (mode: string): TlsWish => (mode === 'allow' || mode === 'prefer' ? mode : 'require');

/** Read for each connection, so that a renewed certificate is found. */
function tlsOptions(mode: string, parameters: URLSearchParams): nodeTls.ConnectionOptions {
  const file = (name: string): Buffer | undefined => {
    const path = parameters.get(name);
    return path === null ? undefined : readFileSync(path);
  };
  const root = parameters.get('sslrootcert');
  const verified = mode.startsWith('verify') || (mode === 'require' && root !== null);
  const name = parameters.get('tlsname');
  return {
    rejectUnauthorized: verified,
    ca: root === null || root === 'system' ? [...authorities()] : file('sslrootcert'),
    cert: file('sslcert'),
    key: file('sslkey'),
    passphrase: parameters.get('sslpassword') ?? undefined,
    ...(name !== null && { host: name, servername: name }),
    ...(mode !== 'verify-full' && { checkServerIdentity: () => undefined }),
  };
}

/** Those of Node.js, and those of this system, to which an administrator may have added some. */
function* authorities(): Generator<string> {
  yield* nodeTls.rootCertificates;
  yield* nodeTls.getCACertificates?.('system') ?? [];
}

function read(url: string) {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  return {
    host: decodeURIComponent(hostname.replace(/^\[(.*)\]$/, '$1')),
    port: port || '5432',
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    parameters: searchParams,
  };
}

/** The URL for logs, without the password. @param urls one or several, separated by `;` */
export function maskUrl(urls: string): string {
  const servers = urls.split(';').map(read);
  const { user, password, database } = servers[0]!;
  const places = servers.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`);
  return `postgresql://${user}${password ? ':***' : ''}@${places.join(',')}/${database}`;
}
