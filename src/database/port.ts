/**
 * The database is the log. The rest of the code knows only changes, cursors and rows; only `postgres/` and `sqlite/`
 * know a driver. One contract suite runs against both (`test/contract/database.test.ts`).
 */
import type { Cursor, HistoryChange, HistoryId, Micros, SessionId, UserId } from '../core/events.js';
import type { Lifecycle } from '../lib/lifecycle.js';

export type Dialect = 'postgresql' | 'sqlite';

/** A bound parameter. Bind moments with `formatSql`; the adapter converts booleans for SQLite. */
export type SqlValue = string | number | boolean | null | Buffer;
export type SqlRow = Record<string, unknown>;

/**
 * Statements in the common dialect of both databases. Parameters are `$1`, `$2`, …. Timestamps are returned as text
 * (`parseSql`), booleans as true/false on PostgreSQL and 0/1 on SQLite (`toBoolean`).
 */
export interface Sql {
  readonly dialect: Dialect;
  all<Row extends SqlRow = SqlRow>(text: string, params?: readonly SqlValue[]): Promise<Row[]>;
  /** @returns the number of changed rows */
  run(text: string, params?: readonly SqlValue[]): Promise<number>;
  /** SQL condition "`column` is one of the list in `$position`". Bind that parameter with `list(ids)`. */
  isOneOf(column: string, position: number): string;
  list(ids: readonly number[] | readonly string[]): SqlValue;
}

export interface Database extends Sql, Lifecycle {
  /**
   * Runs `work` in one transaction: commits when it resolves, rolls back when it throws. On SQLite it takes the write
   * lock at once (BEGIN IMMEDIATE) and waits for it without blocking the event loop.
   */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T>;
  /** The database's clock, the only one that cursors are compared with. */
  now(): Promise<Micros>;
  /**
   * The same database over separate connections, so that waiting work elsewhere does not delay it. It starts and stops
   * with the database. On SQLite, where nothing waits for a connection, it is the database itself.
   */
  lane(name: string, connections: number): this;
  /** Identifies the database: equal for all its processes, different for other databases. */
  identity(): Promise<string>;
  /** For `/wellz`: one line about the problem, or undefined. Sends no statement. */
  problem(): string | undefined;
  /** A problem that only a restart of this process solves, or undefined: for `/healthz` and `/readyz`. */
  mustRestart?(): string | undefined;
  /** Statements since the start, for tests and the status page. */
  readonly statements: number;
}

/** Called with unreadable rows, which were skipped; other rows are unaffected. */
export type OnUnreadable = (table: string, ids: readonly number[], reason: string) => void;

/** The audience of the requested changes. `histories` is for viewers. */
export type ChangeScope =
  | { kind: 'all' }
  | { kind: 'user'; userId: UserId }
  | { kind: 'session'; sessionId: SessionId }
  | { kind: 'histories'; historyIds: readonly HistoryId[] };

export type OwnerScope = Extract<ChangeScope, { kind: 'user' | 'session' }>;

/**
 * The position of a reader of the log: everything visible there has been read. It names its log; opaque outside
 * `database/`.
 */
export type LogPosition = string;

/** The place of a write in the log; opaque outside `database/`, and for clients. */
export type WriteMark = string;

/** Returns the mark of a write of this very transaction; undefined if this log cannot know it. One small statement. */
export type MarkWrite = (tx: Sql) => Promise<WriteMark | undefined>;

/** A position, and the database's clock when it was taken or a little later. */
export interface LogEnd {
  position: LogPosition;
  moment: Micros;
}

/** The changes that became visible after a position. Nothing after `position` has been read yet. */
export interface LogRead extends LogEnd {
  changes: HistoryChange[];
  /** False if there is more to read. */
  complete: boolean;
  /** The number of audit rows behind the changes; omitted if unknown. */
  auditRows?: number;
}

/**
 * *What became visible since*, the primitive of every catch-up. It asks about visibility, not time: the time of an
 * audit row is taken inside its transaction, which may commit an hour later.
 */
export interface ChangeLog {
  /** The name of the log. It changes after a restore, a move, or a fail-over that may have lost commits. */
  identify(): Promise<string>;
  end(): Promise<LogEnd>;
  /**
   * At most about `limit` audit rows, in the order of their transactions, as one change per history.
   * @returns undefined for a position of another log, or one that this log has not reached: start over
   */
  since(position: LogPosition, scope: ChangeScope, limit?: number): Promise<LogRead | undefined>;
  /** The current state of histories named by a hint. One statement. */
  changesOf(historyIds: readonly HistoryId[]): Promise<HistoryChange[]>;
  /** Each history with an audit row after `floor`. One statement. */
  changesSince(floor: Cursor, scope: ChangeScope): Promise<HistoryChange[]>;
  /** All histories of an owner, including deleted ones, whenever they changed. One statement. */
  historiesOf(owner: OwnerScope): Promise<HistoryId[]>;
  /** Users and sessions whose interactive-tool entry points were created or modified after `floor`. */
  entryPointOwnersSince(
    floor: Cursor,
    scope: { kind: 'all' } | { kind: 'user'; userId: UserId } | { kind: 'session'; sessionId: SessionId },
  ): Promise<{ userIds: UserId[]; sessionIds: SessionId[] }>;
  /** The database clock, as `Database.now`. */
  now(): Promise<Micros>;
}

/** The marks of Lightcone's own writes. */
export interface WriteMarks {
  /** Call it before the transaction begins, and the returned function in it, after its last statement. */
  marker(): Promise<MarkWrite>;
}

/**
 * A hint source suggests to the monitor which histories to read. It may lose, duplicate and reorder hints, but
 * `barrier` must be correct.
 */
export interface HintSource extends Lifecycle {
  /** For logs and the status page. */
  readonly name: 'listen' | 'data_version' | 'poll';
  /**
   * Resolves with a moment M (database clock) when every change committed before M has been passed to `onHistories`, or
   * `onGap` was called; a read that begins now finds the rest. For LISTEN it is a NOTIFY to itself that came back, for
   * SQLite a check of the file. A `poll` source announces nothing: M is only the clock, and the caller must itself
   * finish a read that began after M.
   */
  barrier(): Promise<Micros>;
  /** A read found this many new audit rows: for a source that paces the reads. */
  onRead?(auditRows: number): void;
}

/** A hint only triggers a read; the log has the changes. */
export interface HintListener {
  /** These histories may have changed; an empty list: any history may have. */
  onHistories(historyIds: readonly HistoryId[]): void;
  /** Hints may be missing until now (LISTEN was re-established, triggers were silent), or it is time to poll. */
  onGap(cause: string): void;
  /**
   * Another connection has committed something, perhaps only to other tables. A source that cannot know this never
   * calls it.
   */
  onCommit?(): void;
}

/**
 * The positions that the monitor reached, with their moments (own table `lightcone_position`). Stored positions are
 * reliable: a crashed database server reuses only the numbers of transactions that wrote nothing.
 */
export interface PositionStore {
  /** False if nothing can be stored. Positions are then not sent to anybody, because a crash could make them wrong. */
  readonly keeps: boolean;
  /** Entries of all logs, in the order in which they were reached. */
  entries(): Promise<LogEnd[]>;
  newest(log: string): Promise<LogEnd | undefined>;
  add(entry: LogEnd): Promise<void>;
}

/** A row of `worker_process`, with the age of its heartbeat by the database's clock. */
export interface WorkerProcessRow {
  serverName: string;
  hostname: string;
  pid: number | undefined;
  appType: string | undefined;
  updateTime: Micros;
}

export interface WorkerProcesses {
  /**
   * Writes this process's heartbeat, and returns the rows seen within `activeMs` and the database's clock, in as few
   * statements as the database allows (one on PostgreSQL).
   */
  beat(
    self: {
      serverName: string;
      hostname: string;
      pid: number;
      appType: string;
    },
    activeMs: number,
  ): Promise<{ now: Micros; active: WorkerProcessRow[] }>;
  /** Reads without writing. */
  active(activeMs: number): Promise<{ now: Micros; active: WorkerProcessRow[] }>;
  /** Removes only the row that this very process wrote last: another process of the same name may have replaced it. */
  remove(self: { serverName: string; hostname: string; pid: number }): Promise<void>;
}

/**
 * `label` is the text that the holder gave to its lock; undefined if the database does not know it. `stranger` is a
 * session of another program.
 */
export type LockHolder =
  | { held: false }
  | { held: true; label: string | undefined; stranger?: { pid: number; account: string } };

/**
 * The lock of the monitor's role, with at most one holder in the installation: an advisory lock of one open transaction
 * on PostgreSQL, an exclusively locked file beside the database on SQLite. Both are released when the holder dies.
 */
export interface LeaderLock {
  /** Tries once, without waiting. */
  tryAcquire(): Promise<boolean>;
  /**
   * Sends the holder's sign of life and checks that it still holds the lock. PostgreSQL ends a holder that is silent
   * for `silenceMs`. Resolves to false if the lock is lost.
   */
  check(): Promise<boolean>;
  release(): Promise<void>;
  readonly held: boolean;
  /** Called at most once per acquisition, as soon as the loss is known; not after `release`. One listener. */
  onLost(listener: (reason: string) => void): void;
  /** One small statement, without a connection of its own. */
  holder(): Promise<LockHolder>;
}

export interface UserAccount {
  userId: UserId;
  email: string;
  isAdmin: boolean;
}

export interface SessionAccount {
  sessionId: SessionId;
  /** Undefined for an anonymous session, which has no e-mail either. */
  userId: UserId | undefined;
  email: string | undefined;
  isAdmin: boolean;
}

/**
 * The accounts that the HTTP border authenticates. Every method is one statement. `isAdmin` is the flag in the database
 * (`lightcone user add --admin`, standalone only); the caller adds `admin_users` of the configuration.
 */
export interface Accounts {
  /** The valid ones of the given session keys (`is_valid`, and a user that is neither deleted nor purged). */
  sessionsByKeys(sessionKeys: readonly string[]): Promise<Map<string, SessionAccount>>;
  /** The API keys that satisfy all rules of section 5.3: undeleted, the newest of the user, with an undeleted user. */
  usersByApiKeys(keys: readonly string[]): Promise<Map<string, UserAccount>>;
  /** The same, at a lower cost: thousands of keys are checked each minute while their streams are open. */
  validApiKeys(keys: readonly string[]): Promise<Set<string>>;
  /** The undeleted ones of the given users, with their addresses. */
  emailsOf(userIds: readonly UserId[]): Promise<Map<UserId, string>>;
  /** The undeleted ones of the given users, and whether the account itself has the administrator flag. */
  adminFlags(userIds: readonly UserId[]): Promise<Map<UserId, { email: string; isAdmin: boolean }>>;
  /** The valid ones of the given sessions (`is_valid`, and a user that is not deleted). */
  validSessions(sessionIds: readonly SessionId[]): Promise<Map<SessionId, UserId | undefined>>;
  /** The given histories that the caller may see (section 1.2). Administrators see every existing one. */
  accessibleHistories(caller: HistoryCaller, historyIds: readonly HistoryId[]): Promise<Set<HistoryId>>;
  /** The same for many callers, in their order. */
  accessibleToEach(
    questions: readonly { caller: HistoryCaller; historyIds: readonly HistoryId[] }[],
  ): Promise<Set<HistoryId>[]>;
}

export interface HistoryCaller {
  userId: UserId | undefined;
  sessionId: SessionId | undefined;
  isAdmin: boolean;
}

/**
 * A notification row with its recipients, for catch-up and gap repair. `payload` is compact JSON (contract, section
 * 3.4).
 */
export interface NotificationDelivery {
  payload: string;
  publicationTime: Micros;
  /** Empty for a broadcast. */
  userIds: UserId[];
}

export interface NotificationLog {
  /**
   * Published and unexpired notifications since `floor` (by publication time or creation), with recipients who want
   * them.
   */
  notificationsSince(floor: Cursor): Promise<NotificationDelivery[]>;
  broadcastsSince(floor: Cursor): Promise<NotificationDelivery[]>;
  /**
   * The status objects of section 4.3 as compact JSON text, in the order of the requests; for `userId: undefined`
   * (anonymous) broadcasts only. It uses a fixed small number of statements, so a reconnecting crowd needs one call.
   */
  statuses(requests: readonly { userId: UserId | undefined; since: Cursor }[]): Promise<string[]>;
}

export const toBoolean = (value: unknown): boolean => value === true || value === 1;
