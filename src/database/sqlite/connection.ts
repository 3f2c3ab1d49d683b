import BetterSqlite from 'better-sqlite3';
import { LRUCache } from 'lru-cache';
import { LightconeError } from '../../core/errors.js';
import { sleep } from '../../lib/lifecycle.js';
import type { SqlRow, SqlValue } from '../port.js';

/** Maximum wait for another process that holds the file. */
const LOCK_DEADLINE_MS = 10_000;
/** SQLite's own wait blocks the event loop, so it is shorter than what a stream could notice. */
const BUSY_TIMEOUT_MS = 2;

type Statement = BetterSqlite.Statement<unknown[], SqlRow>;

/** One connection. It never blocks the event loop on a lock: it waits and retries. */
export class SqliteConnection {
  readonly #db: BetterSqlite.Database;
  readonly #statements = new LRUCache<string, Statement>({ max: 200 });

  constructor(
    private readonly file: string,
    options: { readonly: boolean },
  ) {
    this.#db = new BetterSqlite(file, { readonly: options.readonly, timeout: BUSY_TIMEOUT_MS });
  }

  /** Whether the statement changes nothing, so that a read-only connection may run it. */
  isReadOnly(text: string): boolean {
    return this.#prepare(text).readonly;
  }

  all(text: string, params: readonly SqlValue[] = []): Promise<SqlRow[]> {
    return this.patiently(() => {
      const statement = this.#prepare(text);
      if (statement.reader) return statement.all(bind(params));
      statement.run(bind(params));
      return [];
    });
  }

  run(text: string, params: readonly SqlValue[] = []): Promise<number> {
    return this.patiently(() => {
      const statement = this.#prepare(text);
      return statement.reader ? statement.all(bind(params)).length : statement.run(bind(params)).changes;
    });
  }

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  /** Runs now or throws SQLITE_BUSY. */
  exec(text: string): void {
    this.#db.exec(text);
  }

  prepare(text: string): Statement {
    return this.#db.prepare(text) as Statement;
  }

  close(): void {
    this.#db.close();
  }

  /** Repeats `work` while another process holds the lock. */
  async patiently<T>(work: () => T): Promise<T> {
    const deadline = performance.now() + LOCK_DEADLINE_MS;
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (!isBusy(error)) throw this.#translate(error);
        if (performance.now() >= deadline) {
          throw new LightconeError(
            'DATABASE_UNAVAILABLE',
            `database file ${this.file} has been locked by another process for ${LOCK_DEADLINE_MS / 1000} s; ` +
              'find the program that keeps a transaction open on it (an sqlite3 shell, a backup) and end it',
            { cause: error },
          );
        }
        await sleep(5 + Math.random() * 45);
      }
    }
  }

  #prepare(text: string): Statement {
    let statement = this.#statements.get(text);
    if (!statement) {
      statement = this.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  #translate(error: unknown): unknown {
    if (!(error instanceof Error)) return error;
    if (/no such (table|column)/.test(error.message)) {
      return new LightconeError(
        'DATABASE_SCHEMA',
        `database file ${this.file} lacks a required table or column: ${error.message}; run "lightcone migrate"`,
        { cause: error },
      );
    }
    const code = String((error as { code?: unknown }).code ?? '');
    if (/^SQLITE_(IOERR|CORRUPT|FULL|CANTOPEN|NOTADB|READONLY|PERM)/.test(code)) {
      return new LightconeError(
        'DATABASE_UNAVAILABLE',
        `database file ${this.file} cannot be used: ${error.message}`,
        {
          cause: error,
        },
      );
    }
    return error;
  }
}

export const isBusy = (error: unknown): boolean =>
  /^SQLITE_(BUSY|LOCKED)/.test(String((error as { code?: unknown } | null)?.code ?? ''));

/** SQLite takes `$1` for a parameter *named* 1. */
function bind(params: readonly SqlValue[]): Record<string, string | number | null | Buffer> {
  return Object.fromEntries(
    params.map((value, index) => [index + 1, typeof value === 'boolean' ? Number(value) : value]),
  );
}
