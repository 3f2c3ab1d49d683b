/**
 * The database is the log. Everything above this port speaks of changes, cursors and rows; only `postgres/` and
 * `sqlite/` know a driver. One contract suite runs against both (`test/contract/database.test.ts`).
 */
import type { Cursor, HistoryChange, HistoryId, Micros, SessionId, UserId } from '../core/events.js';
import type { Lifecycle } from '../lib/lifecycle.js';

export type Dialect = 'postgresql' | 'sqlite';

/** A bound parameter. Moments are bound with `formatSql`; booleans are converted for SQLite by the adapter. */
export type SqlValue = string | number | boolean | null | Buffer;
export type SqlRow = Record<string, unknown>;

/**
 * Statements in the common dialect of both databases: parameters are `$1`, `$2`, …; timestamps come back as text
 * (`parseSql`), booleans as true/false on PostgreSQL and 0/1 on SQLite (`toBoolean`).
 */
export interface Sql {
  readonly dialect: Dialect;
  all<Row extends SqlRow = SqlRow>(text: string, params?: readonly SqlValue[]): Promise<Row[]>;
  /** @returns the number of rows changed */
  run(text: string, params?: readonly SqlValue[]): Promise<number>;
  /** SQL condition "`column` is one of the list in `$position`"; bind that parameter with `list(ids)`. */
  isOneOf(column: string, position: number): string;
  list(ids: readonly number[] | readonly string[]): SqlValue;
}

export interface Database extends Sql, Lifecycle {
  /**
   * Runs `work` in one transaction: commits when it resolves, rolls back when it throws. On SQLite it takes the write
   * lock at once (BEGIN IMMEDIATE) and waits for it without blocking the event loop.
   */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T>;
  /** The database's clock: the only one that cursors are compared with. */
  now(): Promise<Micros>;
  /**
   * The same database over so many connections of its own, so that what waits elsewhere does not hold it up. Started and
   * stopped with the database. On SQLite, where nothing waits for a connection, it is the database itself.
   */
  lane(name: string, connections: number): this;
  /** The same for every process on this database, another for every other one. */
  identity(): Promise<string>;
  /** For `/wellz`: one line of what is wrong, or undefined. Asks nothing of the database. */
  problem(): string | undefined;
  /** What only a restart of this process cures, or undefined: for `/healthz` and `/readyz`. */
  mustRestart?(): string | undefined;
  /** Statements sent since the start, for tests and the status page. */
  readonly statements: number;
}

/** Rows that were left out because something in them cannot be read; what is read beside them is not touched by it. */
export type OnUnreadable = (table: string, ids: readonly number[], reason: string) => void;

/** Whose changes are asked for. `histories` serves viewers. */
export type ChangeScope =
  | { kind: 'all' }
  | { kind: 'user'; userId: UserId }
  | { kind: 'session'; sessionId: SessionId }
  | { kind: 'histories'; historyIds: readonly HistoryId[] };

export type OwnerScope = Extract<ChangeScope, { kind: 'user' | 'session' }>;

/** Where a reader of the log stands: all that was visible there has been read. It names its log; opaque outside `database/`. */
export type LogPosition = string;

/** Where a write stands in the log; opaque outside `database/`, and to whoever is given it. */
export type WriteMark = string;

/** Tells where a write of this very transaction stands; undefined where this log cannot tell. One small statement. */
export type MarkWrite = (tx: Sql) => Promise<WriteMark | undefined>;

/** A position, and the database's clock when it was taken or a little later. */
export interface LogEnd {
  position: LogPosition;
  moment: Micros;
}

/** What became visible after a position; from `position` on nothing of it is read yet. */
export interface LogRead extends LogEnd {
  changes: HistoryChange[];
  /** False when there is more to read than was asked for. */
  complete: boolean;
  /** Of which the changes were made; left out where that is not known. */
  auditRows?: number;
}

/**
 * *What became visible since*, the primitive that every resumer uses. A question of visibility and not of time: the time of
 * an audit row is taken inside its transaction, which may commit an hour later.
 */
export interface ChangeLog {
  /** The name of the log; another one after a restore, a move, or a fail-over that may have lost commits. */
  identify(): Promise<string>;
  end(): Promise<LogEnd>;
  /**
   * About `limit` audit rows at most, in the order of their transactions, as one change per history.
   *
   * @returns undefined for a position of another log, or one that this log has not reached: start over
   */
  since(position: LogPosition, scope: ChangeScope, limit?: number): Promise<LogRead | undefined>;
  /** Histories named by a hint, as they are now. One statement. */
  changesOf(historyIds: readonly HistoryId[]): Promise<HistoryChange[]>;
  /** One statement. Each history that has an audit row of after `floor`. */
  changesSince(floor: Cursor, scope: ChangeScope): Promise<HistoryChange[]>;
  /** All histories of an owner, deleted ones too, without asking when they changed. One statement. */
  historiesOf(owner: OwnerScope): Promise<HistoryId[]>;
  /** Users and sessions whose interactive-tool entry points were created or modified after `floor`. */
  entryPointOwnersSince(
    floor: Cursor,
    scope: { kind: 'all' } | { kind: 'user'; userId: UserId } | { kind: 'session'; sessionId: SessionId },
  ): Promise<{ userIds: UserId[]; sessionIds: SessionId[] }>;
  /** Database clock, as `Database.now`. */
  now(): Promise<Micros>;
}

/** What writes of ours say about where they stand in the log. */
export interface WriteMarks {
  /** To be asked before the transaction begins; the answer is called in it, behind its last statement. */
  marker(): Promise<MarkWrite>;
}

/** A hint source tells the monitor which histories to look at. It may miss, double and reorder; it may not lie about `barrier`. */
export interface HintSource extends Lifecycle {
  /** For logs and the status page. */
  readonly name: 'listen' | 'data_version' | 'poll';
  /**
   * Resolves with a moment M (database clock) when every change committed before M has been handed to `onHistories`, or
   * `onGap` was called: then a read that begins now finds the rest.
   * For LISTEN: a NOTIFY to itself that came back; for SQLite: a look. A `poll` source hands over nothing: there M is only
   * the clock, and the caller must itself finish a read that it began after M came, before a cursor may pass M.
   *
   * @throws LightconeError DATABASE_UNAVAILABLE when the source is dead or silent (deadline a few seconds)
   */
  barrier(): Promise<Micros>;
  /** So many audit rows were new to a read: for a source that paces the reads. */
  onRead?(auditRows: number): void;
}

/** All that a hint says is "look now": what there is to see, the log tells. */
export interface HintListener {
  /** These histories may have changed; an empty list: something may have. */
  onHistories(historyIds: readonly HistoryId[]): void;
  /** Hints may have been missed until now (LISTEN was re-established, triggers were silent), or it is time to poll. */
  onGap(cause: string): void;
  /** Another connection has committed something, be it only to other tables; a source that cannot see this never says so. */
  onCommit?(): void;
}

/**
 * The positions that the monitor reached, with their moments (own table `lightcone_position`). What is stored there is safe:
 * the numbers of transactions that wrote nothing are given out again when the database server crashes.
 */
export interface PositionStore {
  /** False where nothing can be stored: positions are then told to nobody, since a crash could make them untrue. */
  readonly keeps: boolean;
  /** Of all logs, in the order in which they were reached. */
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
   * Writes this process's heartbeat and returns the rows seen within `activeMs`, and the database's clock, in as few
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
  /** Only the row that this very process wrote last: another of the same name may have gone on with it. */
  remove(self: { serverName: string; hostname: string; pid: number }): Promise<void>;
}

/**
 * `label` is what the holder gave when it made its lock; undefined where the database cannot tell. `stranger` is a session of the
 * database that is none of ours.
 */
export type LockHolder =
  | { held: false }
  | { held: true; label: string | undefined; stranger?: { pid: number; account: string } };

/**
 * The fence of the monitor's role: at most one holder in the installation. An advisory lock of one open transaction on
 * PostgreSQL, an exclusively locked file beside the database on SQLite: both are released when the holder dies.
 */
export interface LeaderLock {
  /** Tries once, without waiting. */
  tryAcquire(): Promise<boolean>;
  /**
   * Says that the holder lives, and asks whether it still holds. PostgreSQL ends a holder that does not say so for
   * `silenceMs`. Resolves false when the lock is lost.
   */
  check(): Promise<boolean>;
  release(): Promise<void>;
  readonly held: boolean;
  /** Called at most once per acquisition, the moment the loss is known; not after `release`. One listener. */
  onLost(listener: (reason: string) => void): void;
  /** One small statement, no connection of its own. */
  holder(): Promise<LockHolder>;
}

export interface UserAccount {
  userId: UserId;
  email: string;
  isAdmin: boolean;
}

export interface SessionAccount {
  sessionId: SessionId;
  /** Undefined for an anonymous session; then there is no e-mail either. */
  userId: UserId | undefined;
  email: string | undefined;
  isAdmin: boolean;
}

/**
 * What the HTTP border must know of callers. Every method is one statement. `isAdmin` is what the database says
 * (`lightcone user add --admin`, standalone only); `admin_users` of the configuration is added by the caller.
 */
export interface Accounts {
  /** Of the session keys given, those of valid sessions (`is_valid`, and a user that is neither deleted nor purged). */
  sessionsByKeys(sessionKeys: readonly string[]): Promise<Map<string, SessionAccount>>;
  /** Of the API keys given, those that all rules of section 5.3 accept: undeleted, the user's newest, undeleted user. */
  usersByApiKeys(keys: readonly string[]): Promise<Map<string, UserAccount>>;
  /** The same keys, for less: thousands are asked for each minute while their streams are open. */
  validApiKeys(keys: readonly string[]): Promise<Set<string>>;
  /** Of the user ids given, those of undeleted users, with their addresses. */
  emailsOf(userIds: readonly UserId[]): Promise<Map<UserId, string>>;
  /** Of the user ids given, those of undeleted users, and whether the account itself is flagged as an administrator's. */
  adminFlags(userIds: readonly UserId[]): Promise<Map<UserId, { email: string; isAdmin: boolean }>>;
  /** Of the ids given, those that are still valid sessions (`is_valid`, and a user that is not deleted). */
  validSessions(sessionIds: readonly SessionId[]): Promise<Map<SessionId, UserId | undefined>>;
  /** Of the ids given, those the caller may see (section 1.2); admins see every one that exists. */
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

/** A notification row with its recipients, as catch-up and gap repair need it. `payload` is compact JSON (contract, section 3.4). */
export interface NotificationDelivery {
  payload: string;
  publicationTime: Micros;
  /** Empty for a broadcast. */
  userIds: UserId[];
}

export interface NotificationLog {
  /** Published and unexpired notifications since `floor` (by publication time or creation), with recipients who want them. */
  notificationsSince(floor: Cursor): Promise<NotificationDelivery[]>;
  broadcastsSince(floor: Cursor): Promise<NotificationDelivery[]>;
  /**
   * The status objects of section 4.3 as compact JSON text, in the order of the requests; for `userId: undefined`
   * (anonymous) broadcasts only. However many requests, a fixed small number of statements: a reconnecting crowd asks
   * with one call.
   */
  statuses(requests: readonly { userId: UserId | undefined; since: Cursor }[]): Promise<string[]>;
}

export const toBoolean = (value: unknown): boolean => value === true || value === 1;
