import { closeSync, existsSync, openSync } from 'node:fs';

/**
 * Makes the file its owner's alone before SQLite opens it: it holds API keys, or tokens of tools. One that is there is not
 * touched: closing a descriptor of it drops all locks that this process has on the file.
 */
export function makePrivate(file: string): void {
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
}
