import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { LightconeError } from '../../core/errors.js';
import { type Micros, parseSql } from '../../lib/time.js';
import type { Logger } from '../../telemetry/logger.js';
import { utcNow } from '../dialect.js';
import type { Database, HintListener, HintSource, LeaderLock, Sql, SqlRow, SqlValue } from '../port.js';
import { SqliteConnection } from './connection.js';
import { DataVersionSource } from './data-version-source.js';
import { FileLock } from './file-lock.js';
import { Mutex } from './mutex.js';
import { OpenFile } from './open-file.js';
import { openProblem } from './open-problem.js';
import { makePrivate } from './private-file.js';

export interface SqliteOptions {
  /** A path on a local disk; network file systems do not support SQLite's locks. */
  file: string;
  logger: Logger;
  /** `DELETE` for a file that another program watches, because with `WAL` it does not see the changes. */
  journalMode?: 'WAL' | 'DELETE';
}

interface Connections {
  read: SqliteConnection;
  write: SqliteConnection;
}

/** Uses WAL by default: one writer, and readers that never wait for it. */
export class SqliteDatabase implements Database {
  readonly dialect = 'sqlite';
  readonly #file: string;
  readonly #logger: Logger;
  readonly #journalMode: 'WAL' | 'DELETE';
  readonly #writing = new Mutex();
  #connections: Connections | undefined;
  #openFile: OpenFile | undefined;
  /** Why nothing is read or written any more until the process restarts. */
  #replaced: string | undefined;
  #starting: Promise<void> | undefined;
  #problem: string | undefined = 'the database has not been opened yet';
  #statements = 0;

  constructor({ file, logger, journalMode = 'WAL' }: SqliteOptions) {
    this.#file = file;
    this.#journalMode = journalMode;
    this.#logger = logger;
  }

  get statements(): number {
    return this.#statements;
  }

  problem(): string | undefined {
    return this.mustRestart() ?? this.#problem;
  }

  /**
   * What was read from the old file (ids, positions) is not true of the new one, so only a restarted process opens
   * that.
   */
  mustRestart(): string | undefined {
    if (this.#replaced === undefined && this.#openFile?.isInPlace === false) {
      this.#replaced = `database file ${this.#file} (or its -wal or -shm) was replaced or deleted while it was open: nothing is read or written until this process is restarted; stop it before the next restore`;
      this.#logger.error({ database: this.#file }, this.#replaced);
    }
    return this.#replaced;
  }

  /**
   * @throws LightconeError DATABASE_UNAVAILABLE if the file cannot be opened or is no database; waiting would not help
   */
  start(): Promise<void> {
    this.#starting ??= this.#open().catch((error) => {
      this.#starting = undefined;
      throw error;
    });
    return this.#starting;
  }

  async stop(): Promise<void> {
    await this.#starting?.catch(() => {});
    await this.#writing.run(async () => {
      this.#connections?.read.close();
      this.#connections?.write.close();
      this.#connections = undefined;
      this.#openFile = undefined;
      this.#replaced = undefined;
      this.#starting = undefined;
      this.#problem = 'the database has been closed';
    });
  }

  async all<Row extends SqlRow = SqlRow>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    return this.#watched(async () => {
      const { read, write } = this.#opened();
      const reads = await read.patiently(() => read.isReadOnly(text));
      const rows = reads ? read.all(text, params) : this.#write(() => write.all(text, params));
      return (await rows) as Row[];
    });
  }

  run(text: string, params?: readonly SqlValue[]): Promise<number> {
    return this.#watched(() => this.#write(() => this.#opened().write.run(text, params)));
  }

  isOneOf(column: string, position: number): string {
    return `${column} IN (SELECT value FROM json_each($${position}))`;
  }

  list(values: readonly number[] | readonly string[]): SqlValue {
    return JSON.stringify(values);
  }

  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    return this.#write(async () => {
      const { write } = this.#opened();
      await this.#watched(() => write.run('BEGIN IMMEDIATE'));
      try {
        const result = await work(this.#inside(write));
        await this.#watched(() => write.run('COMMIT'));
        return result;
      } catch (error) {
        // SQLite itself may have rolled back, for example on a full disk. A second rollback would fail and hide the
        // cause.
        if (write.inTransaction) write.exec('ROLLBACK');
        throw error;
      }
    });
  }

  lane(): this {
    return this;
  }

  async identity(): Promise<string> {
    const { dev, ino } = statSync(this.#file);
    return `sqlite:${dev}/${ino}`;
  }

  async now(): Promise<Micros> {
    const [row] = await this.all<{ now: string }>(`SELECT ${utcNow('sqlite')} AS now`);
    return parseSql(row!.now);
  }

  createHintSource(listener: HintListener): HintSource {
    return new DataVersionSource({
      file: this.#file,
      listener,
      check: () => this.#refuseReplaced(),
      logger: this.#logger.child({ source: 'data_version' }),
    });
  }

  createLeaderLock(name: string, label: string): LeaderLock {
    return new FileLock(`${this.#file}.${name}.lock`, label);
  }

  /** A write to a file that was replaced meanwhile is never acknowledged. */
  #write<T>(work: () => Promise<T>): Promise<T> {
    return this.#writing.run(async () => {
      this.#refuseReplaced();
      const result = await work();
      this.#refuseReplaced();
      return result;
    });
  }

  #refuseReplaced(): void {
    const reason = this.mustRestart();
    if (reason !== undefined) throw new LightconeError('DATABASE_UNAVAILABLE', reason);
  }

  #inside(write: SqliteConnection): Sql {
    return {
      dialect: this.dialect,
      all: (text, params) => this.#watched(() => write.all(text, params)) as Promise<never[]>,
      run: (text, params) => this.#watched(() => write.run(text, params)),
      isOneOf: this.isOneOf,
      list: this.list,
    };
  }

  async #open(): Promise<void> {
    let write: SqliteConnection | undefined;
    try {
      mkdirSync(dirname(this.#file), { recursive: true });
      makePrivate(this.#file);
      const opened = new SqliteConnection(this.#file, { readonly: false });
      write = opened;
      await opened.patiently(() => opened.exec(`PRAGMA journal_mode = ${this.#journalMode}`));
      opened.exec('PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON');
      await opened.all('SELECT 1 FROM sqlite_schema');
      this.#openFile = new OpenFile(this.#file);
      this.#connections = { write: opened, read: new SqliteConnection(this.#file, { readonly: true }) };
      this.#problem = undefined;
      this.#logger.info({ database: this.#file }, 'database opened');
    } catch (error) {
      write?.close();
      this.#problem = openProblem(this.#file, error);
      throw new LightconeError('DATABASE_UNAVAILABLE', this.#problem, { cause: error });
    }
  }

  async #watched<T>(ask: () => Promise<T>): Promise<T> {
    this.#statements += 1;
    try {
      const result = await ask();
      this.#problem = undefined;
      return result;
    } catch (error) {
      if (error instanceof LightconeError && error.code === 'DATABASE_UNAVAILABLE')
        this.#problem = error.message;
      throw error;
    }
  }

  #opened(): Connections {
    if (this.#replaced !== undefined) throw new LightconeError('DATABASE_UNAVAILABLE', this.#replaced);
    if (!this.#connections) {
      throw new LightconeError('DATABASE_UNAVAILABLE', `database file ${this.#file} is not open`);
    }
    return this.#connections;
  }
}
