import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ListenAddress } from '../../config/listen.js';
import { LightconeError } from '../../core/errors.js';

/** An address that is missing while the host boots: no interface has it, or no name server answers. */
const MAY_COME = new Set(['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN']);

/** The message for an administrator after a failed listen(). @param flag the flag that sets another address */
export function listenError(listen: ListenAddress, flag: string, error: unknown): LightconeError {
  if (error instanceof LightconeError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const where = listen.kind === 'unix' ? listen.path : `${listen.host}:${listen.port}`;
  const failure = (kind: 'NOT_NOW' | 'CONFIG_INVALID', what: string): LightconeError =>
    new LightconeError(kind, `cannot listen on ${where}: ${what}`, { cause: error });
  if (code === 'EADDRINUSE') {
    return failure('NOT_NOW', `another process does; stop it, or choose another address with ${flag}`);
  }
  // libuv reports EACCES for a missing folder.
  const folder = listen.kind === 'unix' ? dirname(listen.path) : undefined;
  if (folder !== undefined && !existsSync(folder)) {
    return failure(
      'NOT_NOW',
      `there is no folder ${folder}; create it, or let systemd do it (RuntimeDirectory)`,
    );
  }
  return failure(
    MAY_COME.has(code ?? '') ? 'NOT_NOW' : 'CONFIG_INVALID',
    `${message}; choose an address of this host that this user may use`,
  );
}
