/**
 * The vocabulary of Lightcone. Read this first.
 *
 * **change**        a row in the database that concerns users: an audit row of a history, a notification, an entry
 *                   point.
 * **audit row**     (history id, update time) in `history_audit`; a trigger writes it inside the changing transaction.
 * **hint**          a signal to read the log now, which may be lost: NOTIFY, SQLite's data_version, a timer.
 * **cursor**        a moment (database clock) up to which a component has read, published or delivered.
 * **position**      the set of transactions that a reader of the log has seen. A cursor belongs to a position. A time
 *                   alone does not say what was visible, because audit times are taken inside transactions.
 * **event id**      what a frame carries as `id:`: a cursor as text, with the position that belongs to it.
 * **since**         a position as clients see it, in `history_update` and `contents?since=`: opaque text.
 * **floor**         the cursor from which a read must begin so that nothing is missed: earlier than the cursor that asks.
 * **mark**          the place of a write in the log. A position includes it or not.
 * **monitor**       the elected process that turns audit rows into control tasks.
 * **leader**        the process that holds the monitor's role.
 * **control task**  a message on the bus, `{task, kwargs}` (contract, section 3.3), for all workers.
 * **tick**          a message of the leader, once a second, on the channel of its tasks: "everything up to this cursor
 *                   has been published".
 * **notice**        a message of each process about itself, once a second, for the status page; it may be lost.
 * **watermark**     the cursor of the last tick that a worker has received; the only value that it writes as `id:`.
 * **worker**        a process that serves `/api/events/stream`.
 * **tab**           one open stream, with one bounded queue.
 * **frame**         one event as bytes, framed once and shared by all tabs.
 * **viewer**        a user or session that subscribed to a history of another owner.
 * **gap**           a time span in which a hop may have missed something. Its repair reads *changes since T*.
 * **catch-up**      the same for one tab, from its Last-Event-ID.
 */
import type { Micros } from '../lib/time.js';

export type { Micros } from '../lib/time.js';

/** A moment by the database's clock. */
export type Cursor = Micros;

/** Row ids, never encoded. Encoded ids exist only at the HTTP border and in frames. */
export type UserId = number;
export type SessionId = number;
export type HistoryId = number;
/** The columns are 32-bit integers; the database rejects larger numbers. */
export const MAX_ID = 2 ** 31 - 1;

/** A message on the bus. Each kind of event has one (`src/events`). */
export interface Task {
  readonly task: string;
}

/**
 * "These histories changed." From the monitor to every worker.
 * `updateTime` is the newest audit time among them (Lightcone's addition; Galaxy's own monitor sends none).
 */
export interface HistoryUpdateTask {
  task: 'history_update';
  userUpdates: ReadonlyMap<UserId, readonly HistoryId[]>;
  sessionUpdates: ReadonlyMap<SessionId, readonly HistoryId[]>;
  updateTime?: Micros;
  /**
   * The difference between `updateTime` and the newest audit time of a history, for histories whose time is earlier.
   */
  earlier?: ReadonlyMap<HistoryId, Micros>;
  eventId?: string;
}

/** `payload` is the notification as compact JSON text; nothing changes it on its way. */
export interface NotifyUsersTask {
  task: 'notify_users';
  userIds: readonly UserId[];
  payload: string;
  eventId?: string;
}

export interface NotifyBroadcastTask {
  task: 'notify_broadcast';
  payload: string;
  eventId?: string;
}

/** `sessionId` is Lightcone's addition for anonymous owners; Galaxy has no session form (contract, section 3.4). */
export interface EntryPointUpdateTask {
  task: 'entry_point_update';
  userId?: UserId;
  sessionId?: SessionId;
  eventId?: string;
}

/** `historyId` is the encoded id (contract, section 4.2). */
export interface HistoryViewerTask {
  task: 'subscribe_history_viewer' | 'unsubscribe_history_viewer';
  historyId: string;
  userId?: UserId;
  sessionId?: SessionId;
}

/** "Elect again now." A process sends it when it stops cleanly. */
export interface ReconfigureWatcherTask {
  task: 'reconfigure_watcher';
}

/**
 * "The access of this session or of these viewers has changed: check it now." By itself it neither grants nor revokes
 * access.
 */
export interface PermissionsChangedTask {
  task: 'permissions_changed';
  /** The session has ended, or belongs to another user now. */
  sessionId?: SessionId;
  /** Encoded. Fewer callers may see this history than before. */
  historyId?: string;
}

/** "Notify the streams of this caller when they include these writes." */
export interface AwaitMarksTask {
  task: 'await_marks';
  marks: readonly string[];
  userId?: UserId;
  sessionId?: SessionId;
}

/** The SSE control tasks (contract, section 3.4), plus Lightcone's own. */
export type ControlTask =
  | HistoryUpdateTask
  | NotifyUsersTask
  | NotifyBroadcastTask
  | EntryPointUpdateTask
  | HistoryViewerTask
  | ReconfigureWatcherTask
  | PermissionsChangedTask
  | AwaitMarksTask;
export type TaskName = ControlTask['task'];

/**
 * The leader's tick. `until`: everything committed before this moment precedes the tick on its channel. `sequence`
 * increases by one with each tick of a `leader` (its server name and start), so that a receiver notices a lost tick.
 */
export interface Tick {
  leader: string;
  sequence: number;
  until: Cursor;
  /**
   * A position in the log: everything visible there precedes the tick. Opaque; undefined if the leader knows none.
   */
  position?: string;
}

/**
 * The audience of a history. Exactly one of the two is filled: the owner, or the sessions of an anonymous history.
 */
export interface HistoryAudience {
  historyId: HistoryId;
  userId: UserId | undefined;
  sessionIds: readonly SessionId[];
}

/** A history that changed. */
export interface HistoryChange extends HistoryAudience {
  /** The newest audit time that was read. */
  newest: Micros;
}

/** The owner of an open stream. It never changes; its permission is checked again and again. */
export interface Principal {
  userId: UserId | undefined;
  sessionId: SessionId | undefined;
  isAdmin: boolean;
  /** The basis of the permission, for the next check: the session row or the API key. */
  credential: Credential;
}

export type Credential =
  | { kind: 'none' }
  | { kind: 'session'; sessionId: SessionId }
  /** `key` is the secret itself. Never log it. */
  | { kind: 'api_key'; key: string; userId: UserId }
  | { kind: 'bootstrap_key' }
  /** The application that embeds Lightcone authenticated the caller. */
  | { kind: 'application' };
