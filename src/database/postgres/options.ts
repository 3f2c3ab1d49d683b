import { Socket } from 'node:net';
import type { ClientBase, ClientConfig } from 'pg';
import pg from 'pg';

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

/** A name in the URL would win over ours, by which the holder of the leader lock is known. */
const withoutName = (url: string): string => url.replace(/([?&])application_name=[^&]*&?/, '$1');

/** What every connection of Lightcone has in common. */
export function clientOptions(url: string, applicationName = 'lightcone') {
  return {
    connectionString: withoutName(url),
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
  readonly #open = new Set<Socket>();

  /** For the driver's option `stream`. */
  readonly stream = (): Socket => {
    const socket = new Socket();
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    return socket;
  };

  destroy(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

/** The URL as a log may show it: without its password. */
export function maskUrl(url: string): string {
  return url
    .replace(/^([a-z+]+:\/\/[^:/?#@]*):[^/?#]*@/i, '$1:***@')
    .replace(/([?&](?:ssl)?password=)[^&]*/gi, '$1***');
}
