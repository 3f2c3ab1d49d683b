import { closeSync, existsSync, openSync } from 'node:fs';

/**
 * Creates the file for its owner only, before SQLite opens it: it contains API keys, or tokens of tools. An existing
 * file is not opened, because closing a descriptor drops all locks of this process on the file.
 */
export function makePrivate(file: string): void {
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
}
