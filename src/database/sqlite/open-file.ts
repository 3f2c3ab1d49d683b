import { statSync } from 'node:fs';

/** SQLite removes none of them while the database is open; the latter two exist with `WAL` only. */
const PARTS = ['', '-wal', '-shm'];

/**
 * The files that were opened. A restore replaces them; a process with the old ones would go on reading and writing
 * files that nobody will ever open again.
 */
export class OpenFile {
  readonly #inodes: (string | undefined)[];

  /** @param file opened, and read from once */
  constructor(private readonly file: string) {
    this.#inodes = PARTS.map((part) => inodeOf(file + part));
  }

  get isInPlace(): boolean {
    return PARTS.every((part, i) => {
      const inode = inodeOf(this.file + part);
      // Another program may have switched to a write-ahead log since.
      this.#inodes[i] ??= inode;
      return inode === this.#inodes[i];
    });
  }
}

function inodeOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && `${found.dev}/${found.ino}`;
}
