import pg, { type ClientBase } from 'pg';

/** The server starts or stops, or is a standby that takes no sessions yet; it takes no writes. */
const CANNOT_CONNECT_NOW = '57P03';
const TAKES_NO_WRITES = '25006';

/** A server that can be connected to, and is not of the kind that `target_session_attrs` wants. */
class OtherKind extends Error {}

/**
 * The servers that a database URL names. As in libpq the next one is tried where there is no connection to be had, and where
 * the server is not of the wanted kind, but not where it answers with a refusal, such as a wrong password. All connections
 * of a process lead to one server: the pools choose it, and it is kept for as long as they get connections there.
 */
export class Servers {
  readonly #urls: readonly string[];
  #at = 0;
  #reached = false;
  #before: string | undefined;

  /** @param urls as `config/urls.ts` makes it: separated by `;` */
  constructor(urls: string) {
    this.#urls = urls.split(';');
  }

  get count(): number {
    return this.#urls.length;
  }

  /** Of the server to connect to. */
  get url(): string {
    return this.#urls[this.#at]!;
  }

  /** Whether the pools have found another server than this one. */
  hasLeft(url: string): boolean {
    return this.#reached && url !== this.url;
  }

  /** After a connection there that is of use. @returns whether it is another server than before */
  reached(url: string): boolean {
    if (this.#reached) return false;
    this.#at = this.#urls.indexOf(url);
    this.#reached = true;
    const isOther = this.#before !== undefined && this.#before !== url;
    this.#before = url;
    return isOther;
  }

  /** After a connection there that could not be had, or is of no use any more. @returns whether the next server is worth a try */
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

/** A server that became a standby, or read-only, under a session that a pooler or a proxy kept. */
export const takesNoWrites = (failure: unknown): boolean =>
  failure instanceof pg.DatabaseError && failure.code === TAKES_NO_WRITES;

/** @throws what `leave` takes for a reason to go on */
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
