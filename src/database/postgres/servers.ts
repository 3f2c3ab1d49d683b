import pg, { type ClientBase } from 'pg';

/** The server starts, stops, or is a standby without sessions; it accepts no writes. */
const CANNOT_CONNECT_NOW = '57P03';
const TAKES_NO_WRITES = '25006';

/** The server accepts connections, but is not of the kind that `target_session_attrs` demands. */
class OtherKind extends Error {}

/**
 * The servers of a database URL. As in libpq, the next one is tried after a failed connect or a server of the wrong
 * kind, but not after a refusal such as a wrong password. All connections of a process use one server: the pools choose
 * it, and keep it while they get connections there.
 */
export class Servers {
  readonly #urls: readonly string[];
  #at = 0;
  #reached = false;
  #before: string | undefined;

  /** @param urls from `config/urls.ts`, separated by `;` */
  constructor(urls: string) {
    this.#urls = urls.split(';');
  }

  get count(): number {
    return this.#urls.length;
  }

  /** The URL of the server to connect to. */
  get url(): string {
    return this.#urls[this.#at]!;
  }

  /** Whether the pools use another server now. */
  hasLeft(url: string): boolean {
    return this.#reached && url !== this.url;
  }

  /** Call it after a usable connection. @returns whether it is another server than before */
  reached(url: string): boolean {
    if (this.#reached) return false;
    this.#at = this.#urls.indexOf(url);
    this.#reached = true;
    const isOther = this.#before !== undefined && this.#before !== url;
    this.#before = url;
    return isOther;
  }

  /** Call it after a failed or useless connection. @returns whether to try the next server */
  leave(url: string, failure: unknown): boolean {
    if (this.count === 1) return false;
    const refusal = failure instanceof pg.DatabaseError && failure.code !== CANNOT_CONNECT_NOW;
    if (refusal && !takesNoWrites(failure)) return false;
    if (url !== this.url) return true;
    this.#at = (this.#at + 1) % this.count;
    this.#reached = false;
    return true;
  }
}

/** The server became a standby or read-only during a session that a pooler or proxy kept. */
export const takesNoWrites = (failure: unknown): boolean =>
  failure instanceof pg.DatabaseError && failure.code === TAKES_NO_WRITES;

/** @throws an error for which `leave` moves on */
export async function checkKind(client: ClientBase, url: string): Promise<void> {
  const wish = new URL(url).searchParams.get('target_session_attrs') ?? 'any';
  if (wish === 'any') return;
  const { rows } = await client.query<{ standby: boolean; read_only: string }>(
    "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only",
  );
  const { standby, read_only } = rows[0]!;
  if (standby) throw new OtherKind(`it is a standby, and target_session_attrs=${wish}`);
  if (wish === 'read-write' && read_only === 'on') {
    throw new OtherKind('its default_transaction_read_only is on, and target_session_attrs=read-write');
  }
}
