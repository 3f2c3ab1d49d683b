import { LightconeError } from '../../core/errors.js';
import { msUntilAligned } from '../../lib/aligned-interval.js';
import { systemClock } from '../../lib/clock.js';
import { type Micros, parseSql } from '../../lib/time.js';
import type { Logger } from '../../telemetry/logger.js';
import { utcNow } from '../dialect.js';
import type { HintListener, HintSource } from '../port.js';
import { isBusy, SqliteConnection } from './connection.js';
import { FileChangeNotifier } from './write-watch.js';

/** Interval of checks without write notifications. */
const LOOK_EVERY_MS = 50;
/** Interval of checks with write notifications, in case one is lost. */
const LOOK_ANYWAY_MS = 1_000;
/** Minimum interval of checks, however many writes there are. */
const LOOK_AGAIN_MS = 5;
/** A commit follows its write notification within this time, however slow the disk. */
const COMMITTED_WITHIN_MS = 5_000;
/** After this time, every notification from before a commit has been read. */
const READ_WITHIN_MS = 100;

interface AuditRow {
  id: number;
  history_id: number;
}

interface Look {
  connection: SqliteConnection;
  /** It changes when another connection, of this process or another, has committed. It reads no page of the file. */
  dataVersion: () => number;
  rowsAfter: (id: number) => AuditRow[];
  newest: () => number;
  clock: () => string;
}

export interface DataVersionOptions {
  file: string;
  listener: HintListener;
  logger: Logger;
  /** Called before each check. @throws if the file must not be read any more */
  check?: () => void;
  watch?: Watch;
}

interface Closable {
  close(): void;
}

/** Calls back on each write to the file. @throws if it cannot watch */
export type Watch = (file: string, onWrite: () => void, onError: (error: Error) => void) => Closable;

/**
 * Writers of SQLite follow each other and no id is given twice, so the order of ids in `history_audit` is the order of
 * commits, and "every row behind the last one seen" misses nothing.
 *
 * A look costs little, but waking an idle process twenty times a second for it does not. So it looks when the kernel says
 * that somebody writes, and then at doubling distances, because the commit can be seen only after an fsync or more. Where
 * a commit had no write notification (a network file system) it looks at short intervals from then on.
 */
export class DataVersionSource implements HintSource {
  readonly name = 'data_version';
  #look: Look | undefined;
  /** Undefined without write notifications. */
  #watch: Closable | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextLookAt = 0;
  #lookedAt = 0;
  /** The time of the last write notification. */
  #writtenAt = Number.NEGATIVE_INFINITY;
  #seenVersion = -1;
  #last = 0;
  #failing = false;

  constructor(private readonly options: DataVersionOptions) {}

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
    if (this.#look !== look) return;
    this.#startWatch();
    this.#lookIn(0);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#watch?.close();
    this.#watch = undefined;
    this.#look?.connection.close();
    this.#look = undefined;
  }

  async barrier(): Promise<Micros> {
    const look = this.#look;
    if (!look) throw new LightconeError('DATABASE_UNAVAILABLE', 'the check of data_version is not running');
    return look.connection.patiently(() => {
      const now = parseSql(look.clock());
      this.#lookNow(look);
      // The clock has milliseconds: a change committed after this check may have the same time.
      return now - 1_000;
    });
  }

  #startWatch(): void {
    const { file, watch = watchWrites } = this.options;
    try {
      this.#watch = watch(
        file,
        () => this.#onWrite(),
        (error) => this.#lookOften(error.message),
      );
    } catch (error) {
      this.#lookOften((error as Error).message);
    }
  }

  #lookOften(reason: string): void {
    const { file, logger } = this.options;
    logger.info(
      { file, reason },
      `no write notifications for the database file: polling every ${LOOK_EVERY_MS} ms`,
    );
    this.#watch?.close();
    this.#watch = undefined;
    this.#lookIn(LOOK_EVERY_MS);
  }

  #onWrite(): void {
    this.#writtenAt = performance.now();
    const wait = this.#lookedAt + LOOK_AGAIN_MS - this.#writtenAt;
    if (wait > 0) this.#lookIn(wait);
    else this.#tick();
  }

  #lookIn(ms: number): void {
    const at = performance.now() + ms;
    if (this.#timer && this.#nextLookAt <= at) return;
    clearTimeout(this.#timer);
    this.#nextLookAt = at;
    this.#timer = setTimeout(() => this.#tick(), ms);
  }

  #tick(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#lookSafely();
    if (!this.#look) return;
    const sinceWrite = performance.now() - this.#writtenAt;
    this.#lookIn(
      this.#watch
        ? Math.min(Math.max(sinceWrite, LOOK_AGAIN_MS), msUntilAligned(LOOK_ANYWAY_MS, systemClock))
        : LOOK_EVERY_MS,
    );
  }

  #lookSafely(): void {
    const look = this.#look;
    if (!look) return;
    try {
      this.#lookNow(look);
      this.#failing = false;
    } catch (error) {
      // One of the next checks succeeds. The version was not recorded, so nothing is lost.
      if (isBusy(error) || this.#failing) return;
      this.#failing = true;
      this.options.logger.warn(
        { reason: (error as Error).message },
        'database file cannot be polled for changes',
      );
    }
  }

  get #unannounced(): boolean {
    return performance.now() - this.#writtenAt > COMMITTED_WITHIN_MS;
  }

  #expectAnnouncement(watch: Closable): void {
    setTimeout(() => {
      if (this.#watch === watch && this.#unannounced) this.#lookOften('a commit had no write notification');
    }, READ_WITHIN_MS).unref();
  }

  #lookNow(look: Look): void {
    this.#lookedAt = performance.now();
    this.options.check?.();
    const version = look.dataVersion();
    if (version === this.#seenVersion) return;
    if (this.#watch && this.#unannounced) this.#expectAnnouncement(this.#watch);
    const rows = look.rowsAfter(this.#last);
    this.#seenVersion = version;
    this.#last = rows.at(-1)?.id ?? this.#last;
    this.options.listener.onCommit?.();
    if (rows.length > 0) this.options.listener.onHistories([...new Set(rows.map((row) => row.history_id))]);
  }
}

const watchWrites: Watch = (file, onWrite, onError) => new FileChangeNotifier(file, onWrite, onError);

function openLook(file: string): Look {
  const connection = new SqliteConnection(file, { readonly: true });
  try {
    const version = connection.prepare('PRAGMA data_version').pluck();
    const after = connection.prepare('SELECT id, history_id FROM history_audit WHERE id > ? ORDER BY id');
    const newest = connection.prepare('SELECT coalesce(max(id), 0) FROM history_audit').pluck();
    const clock = connection.prepare(`SELECT ${utcNow('sqlite')}`).pluck();
    return {
      connection,
      dataVersion: () => version.get() as unknown as number,
      rowsAfter: (id) => after.all(id) as unknown as AuditRow[],
      newest: () => newest.get() as unknown as number,
      clock: () => clock.get() as unknown as string,
    };
  } catch (error) {
    connection.close();
    throw error;
  }
}
