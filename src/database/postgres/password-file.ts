import { readFile, stat } from 'node:fs/promises';

export interface PasswordQuestion {
  host: string;
  port: string;
  database: string;
  user: string;
}

/** A connection by unix socket in the usual folder is looked up as `localhost`. */
const SOCKET_FOLDER = '/var/run/postgresql';

/**
 * The password of a connection, from a file in libpq's format: lines `host:port:database:user:password`, the first
 * match wins, `*` matches everything, `\` escapes a colon. It is read when the server asks, so that a new password is
 * found.
 */
export async function passwordFromFile(file: string, asked: PasswordQuestion): Promise<string | undefined> {
  const found = await stat(file).catch(() => undefined);
  // libpq ignores a file that others may read.
  if (!found?.isFile() || (found.mode & 0o077) !== 0) return undefined;
  const host = asked.host.startsWith(SOCKET_FOLDER) ? 'localhost' : asked.host;
  const wanted = [host, asked.port, asked.database, asked.user];
  for (const line of (await readFile(file, 'utf8')).split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(?::|$)/g)].map(([, field]) => field!);
    if (fields.length < 5 || !wanted.every((value, at) => fits(fields[at]!, value))) continue;
    // The password may contain unescaped colons.
    return plain(line.slice(fields.slice(0, 4).join(':').length + 1));
  }
  return undefined;
}

const fits = (pattern: string, value: string): boolean => pattern === '*' || plain(pattern) === value;
const plain = (text: string): string => text.replace(/\\(.)/g, '$1');
