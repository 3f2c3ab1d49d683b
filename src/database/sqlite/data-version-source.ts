import { LightconeError } from '../../core/errors.js';
import { type Micros, parseSql } from '../../core/time.js';
import type { Logger } from '../../telemetry/logger.js';
import { utcNow } from '../dialect.js';
import type { HintListener, HintSource } from '../port.js';
import { isBusy, SqliteConnection } from './connection.js';

const LOOK_EVERY_MS = 50;

interface AuditRow {
  rowid: number;
  history_id: number;
  update_time: string;
}

interface Look {
  connection: SqliteConnection;
  /** Changes when another connection, of this process or another, has committed; costs no read of the file's pages. */
  dataVersion: () => number;
  rowsFrom: (rowid: number) => AuditRow[];
  newest: () => AuditRow | undefined;
  clock: () => string;
}

/**
 * Writers of SQLite follow each other, so the order of rowids in `history_audit` is the order of commits and "every row
 * behind the last one seen" misses nothing.
 */
export class DataVersionSource implements HintSource {
  readonly name = 'data_version';
  #look: Look | undefined;
  #timer: NodeJS.Timeout | undefined;
  #seenVersion = -1;
  #last: AuditRow | undefined;
  #failing = false;

  constructor(private readonly options: { file: string; listener: HintListener; logger: Logger }) {}

  async start(): Promise<void> {
    if (this.#look) return;
    const look = openLook(this.options.file);
    this.#look = look;
    try {
      await look.connection.patiently(() => {
        this.#seenVersion = look.dataVersion();
        this.#last = look.newest();
      });
    } catch (error) {
      await this.stop();
      throw error;
    }
    if (this.#look === look) this.#timer = setInterval(() => this.#tick(), LOOK_EVERY_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#look?.connection.close();
    this.#look = undefined;
  }

  async barrier(): Promise<Micros> {
    const look = this.#look;
    if (!look) throw new LightconeError('DATABASE_UNAVAILABLE', 'the look at data_version is not running');
    return look.connection.patiently(() => {
      const now = parseSql(look.clock());
      this.#lookNow(look);
      // The clock has milliseconds: a change committed after this look may still carry the same one.
      return now - 1_000;
    });
  }

  #tick(): void {
    const look = this.#look;
    if (!look) return;
    try {
      this.#lookNow(look);
      this.#failing = false;
    } catch (error) {
      // Busy is over by one of the next looks; the version was not noted, so nothing is missed.
      if (isBusy(error) || this.#failing) return;
      this.#failing = true;
      this.options.logger.warn({ reason: (error as Error).message }, 'cannot look for changes');
    }
  }

  #lookNow(look: Look): void {
    const version = look.dataVersion();
    if (version === this.#seenVersion) return;
    const rows = look.rowsFrom(this.#last?.rowid ?? 0);
    const before = this.#last;
    this.#seenVersion = version;
    this.#last = rows.at(-1) ?? look.newest();
    this.options.listener.onCommit?.();
    // The row seen last must still be there, the same: pruning frees rowids for new rows and VACUUM gives new ones.
    if (before && !isSame(rows[0], before)) {
      this.options.listener.onGap('audit_renumbered');
      return;
    }
    const ids = new Set(rows.slice(before ? 1 : 0).map((row) => row.history_id));
    if (ids.size > 0) this.options.listener.onHistories([...ids]);
  }
}

const isSame = (a: AuditRow | undefined, b: AuditRow): boolean =>
  a?.rowid === b.rowid && a.history_id === b.history_id && a.update_time === b.update_time;

function openLook(file: string): Look {
  const connection = new SqliteConnection(file, { readonly: true });
  const columns = 'SELECT rowid, history_id, update_time FROM history_audit';
  try {
    const version = connection.prepare('PRAGMA data_version').pluck();
    const from = connection.prepare(`${columns} WHERE rowid >= ? ORDER BY rowid`);
    const newest = connection.prepare(`${columns} ORDER BY rowid DESC LIMIT 1`);
    const clock = connection.prepare(`SELECT ${utcNow('sqlite')}`).pluck();
    return {
      connection,
      dataVersion: () => version.get() as unknown as number,
      rowsFrom: (rowid) => from.all(rowid) as unknown as AuditRow[],
      newest: () => newest.get() as unknown as AuditRow | undefined,
      clock: () => clock.get() as unknown as string,
    };
  } catch (error) {
    connection.close();
    throw error;
  }
}
