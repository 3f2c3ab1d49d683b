import { dirname } from 'node:path';
import { LightconeError } from '../../core/errors.js';

/** What an administrator is told of a file that cannot be opened. */
export function openProblem(file: string, error: unknown): string {
  const cause = error instanceof LightconeError ? error.cause : error;
  const { code = '', syscall, message } = cause as NodeJS.ErrnoException;
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return (error as Error).message;
  // For a file system that is read-only, Node.js says that the folder does not exist.
  const reason = syscall === 'mkdir' ? `its folder ${dirname(file)} cannot be made` : message;
  return `database file ${file} cannot be opened: ${reason}; ${advice(code)}`;
}

function advice(code: string): string {
  if (/^(SQLITE_(IOERR|FULL)|ENOSPC|EDQUOT|EIO)/.test(code))
    return 'check whether its disk is full or failing';
  if (/^SQLITE_(NOTADB|CORRUPT)/.test(code))
    return 'set another file in database_connection, or restore a backup';
  return 'let this user write to the file and its folder, or name another one in database_connection';
}
