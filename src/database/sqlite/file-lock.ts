import { existsSync, statSync } from 'node:fs';
import BetterSqlite from 'better-sqlite3';
import type { LeaderLock, LockHolder } from '../port.js';
import { isBusy } from './connection.js';
import { makePrivate } from './private-file.js';

/** Another process's `holder()` locks the file for a moment. A longer lock is a real one. */
const BUSY_TIMEOUT_MS = 5;

/**
 * An open `BEGIN IMMEDIATE` on a small database beside the database, in which others read the name of the holder. The
 * operating system releases the file lock when the process ends, in any way. A frozen holder on the same machine cannot
 * be evicted, and thaws with its lock.
 */
export class FileLock implements LeaderLock {
  #db: BetterSqlite.Database | undefined;
  #inode: number | undefined;
  #listener: (reason: string) => void = () => {};

  constructor(
    private readonly file: string,
    private readonly label: string,
  ) {}

  get held(): boolean {
    return this.#db !== undefined;
  }

  onLost(listener: (reason: string) => void): void {
    this.#listener = listener;
  }

  async tryAcquire(): Promise<boolean> {
    if (this.#db) return true;
    const db = this.#open();
    if (!this.#lock(db)) return false;
    this.#db = db;
    this.#inode = statSync(this.file).ino;
    return true;
  }

  /** The lock is on the file, not on its name: deleting the file allows a second leader. */
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
    if (this.#db) return { held: true, label: this.label };
    // A question must not create the file.
    if (!existsSync(this.file)) return { held: false };
    const db = this.#open();
    try {
      db.exec('BEGIN IMMEDIATE');
      return { held: false };
    } catch (error) {
      if (isBusy(error)) return { held: true, label: labelIn(db) };
      throw error;
    } finally {
      db.close();
    }
  }

  #open(): BetterSqlite.Database {
    makePrivate(this.file);
    return new BetterSqlite(this.file, { timeout: BUSY_TIMEOUT_MS });
  }

  /**
   * Other processes read only committed data, so the label is committed and the lock taken again. Another process may
   * win in between.
   */
  #lock(db: BetterSqlite.Database): boolean {
    try {
      db.exec('BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS holder (label text); DELETE FROM holder');
      db.prepare('INSERT INTO holder VALUES (?)').run(this.label);
      db.exec('COMMIT; BEGIN IMMEDIATE');
      return true;
    } catch (error) {
      db.close();
      if (isBusy(error)) return false;
      throw error;
    }
  }
}

/** Undefined while the file is being created or written. */
function labelIn(db: BetterSqlite.Database): string | undefined {
  try {
    return db.prepare('SELECT label FROM holder').pluck().get() as string | undefined;
  } catch {
    return undefined;
  }
}
