import { statSync } from 'node:fs';
import BetterSqlite from 'better-sqlite3';
import type { LeaderLock, LockHolder } from '../port.js';
import { isBusy } from './connection.js';

/** Another process's `holder()` has the file for a moment; longer than that, and somebody really holds it. */
const BUSY_TIMEOUT_MS = 5;

/**
 * An open `BEGIN EXCLUSIVE` on a small file beside the database. The operating system drops the file lock when the process
 * ends, however it ends. A frozen holder on the same machine cannot be evicted, and thaws with its lock.
 */
export class FileLock implements LeaderLock {
  #db: BetterSqlite.Database | undefined;
  #inode: number | undefined;
  #listener: (reason: string) => void = () => {};

  constructor(private readonly file: string) {}

  get held(): boolean {
    return this.#db !== undefined;
  }

  onLost(listener: (reason: string) => void): void {
    this.#listener = listener;
  }

  async tryAcquire(): Promise<boolean> {
    if (this.#db) return true;
    const db = this.#openExclusively();
    if (!db) return false;
    this.#db = db;
    this.#inode = statSync(this.file).ino;
    return true;
  }

  /** The lock is on the file, not on its name: whoever deletes the file opens the door for a second leader. */
  async check(): Promise<boolean> {
    if (!this.#db) return false;
    if (statSync(this.file, { throwIfNoEntry: false })?.ino === this.#inode) return true;
    await this.release();
    this.#listener(`the lock file ${this.file} was deleted or replaced`);
    return false;
  }

  async release(): Promise<void> {
    this.#db?.close();
    this.#db = undefined;
  }

  async holder(): Promise<LockHolder> {
    if (this.#db) return { held: true, label: undefined };
    const db = this.#openExclusively();
    db?.close();
    return db ? { held: false } : { held: true, label: undefined };
  }

  async evict(): Promise<boolean> {
    return false;
  }

  #openExclusively(): BetterSqlite.Database | undefined {
    const db = new BetterSqlite(this.file, { timeout: BUSY_TIMEOUT_MS });
    try {
      db.exec('BEGIN EXCLUSIVE');
      return db;
    } catch (error) {
      db.close();
      if (isBusy(error)) return undefined;
      throw error;
    }
  }
}
