/**
 * A folder for what a server or a database writes. In memory, where there is room: a database of PostgreSQL is 300 files, and
 * to make and remove them costs several times as much on a disk. Not for programs: such a file system may refuse to run them.
 */
import { mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MEMORY = '/dev/shm';
const ENOUGH_BYTES = 2 * 1024 ** 3;

export function dataFolder(prefix: string): string {
  return mkdtempSync(join(parent(), prefix));
}

function parent(): string {
  // Whoever names a folder gets it.
  if (process.env.TMPDIR) return tmpdir();
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize >= ENOUGH_BYTES ? MEMORY : tmpdir();
  } catch {
    return tmpdir();
  }
}
