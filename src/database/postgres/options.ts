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
 * numbers. Passed per connection, so that another user of `pg` in this process keeps its own parsers.
 */
const types: NonNullable<ClientConfig['types']> = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === TIMESTAMP) return (text: string) => text;
    if (oid === INT8) return Number;
    return pg.types.getTypeParser(oid, format as 'text');
  },
};

/** A neighbour that accepts and then says nothing must not hold us longer than this. */
export const CONNECT_TIMEOUT_MS = 5_000;
const QUERY_TIMEOUT_MS = 10_000;

/**
 * What the server ends by itself, before the driver gives up: a statement that is given up would stay there, and hold its
 * session and its locks for as long as whatever it waits for. Not for LISTEN and the leader's lock, which wait for nothing.
 */
export const SERVER_LIMITS = {
  lock_timeout: 4_000,
  statement_timeout: 8_000,
  idle_in_transaction_session_timeout: 10_000,
} as const;

/** What every connection of Lightcone has in common. @param url of one server, as `config/urls.ts` makes it: nothing is left open */
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
      throw new Error('the server asks for a password, and database_connection has none');
    },
    options: parameters.get('options') ?? undefined,
    // The sockets see to that.
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
 * What our statements rely on and an administrator may have set otherwise for the role, the database or the server: how
 * timestamps are written, and that a backslash in a literal is one. PgBouncer keeps track of both.
 */
export async function prepareSession(client: ClientBase): Promise<void> {
  await client.query("SET DateStyle = 'ISO, MDY'; SET standard_conforming_strings = on");
}

/**
 * Hands out the sockets under a client or a pool, to be destroyed: the driver closes a connection politely, which on a
 * silent one takes for ever.
 */
export class Sockets {
  readonly #open = new Set<Duplex>();
  readonly #create: () => Duplex;

  constructor(url: string) {
    const { host, parameters } = read(url);
    const mode = parameters.get('sslmode') ?? 'prefer';
    // As with libpq there is no TLS on a unix socket, whatever is asked for.
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

/** Those that come with Node, and those of this system, which an administrator may have added to. */
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

/** The URL as a log may show it: where it goes, without the password. @param urls one, or several separated by `;` */
export function maskUrl(urls: string): string {
  const servers = urls.split(';').map(read);
  const { user, password, database } = servers[0]!;
  const places = servers.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`);
  return `postgresql://${user}${password ? ':***' : ''}@${places.join(',')}/${database}`;
}
