/**
 * The vocabulary of Lightcone. Read this first.
 *
 * **change**        a row written to the database that somebody should see: a history's audit row, a notification, an
 *                   entry point.
 * **audit row**     (history id, update time) in `history_audit`, written by a trigger inside the changing transaction.
 * **hint**          anything that says "look now" and may be lost: NOTIFY, SQLite's data_version, a timer.
 * **cursor**        a moment (database clock) up to which something was read, published or delivered.
 * **position**      where a reader of the log stands: which transactions it has seen. A cursor belongs to a position; a time
 *                   alone does not tell what was visible, because audit times are taken inside transactions.
 * **mark**          where a write stands in the log. A position includes it or not.
 * **monitor**       the one elected process that turns audit rows into control tasks.
 * **leader**        the process that holds the monitor's role.
 * **control task**  a message on the bus, `{task, kwargs}` (contract, section 3.3): what is fanned out.
 * **tick**          the leader's word, once a second, on the same channel as its tasks: "everything up to this cursor has
 *                   been published".
 * **notice**        what a process tells the others of itself once a second, for the status page; it may be lost.
 * **watermark**     the cursor of the last tick that a worker has received; the only value it writes as `id:`.
 * **worker**        a process that serves `/api/events/stream`.
 * **tab**           one open stream, with one bounded queue.
 * **frame**         one event as bytes, framed once and shared by all tabs.
 * **viewer**        a user or session that subscribed to a history that is not its own.
 * **gap**           a stretch of time in which a hop may have missed something; it is repaired by reading *changes since T*.
 * **catch-up**      the same for one tab, from its Last-Event-ID.
 */
import type { Micros } from '../lib/time.js';

export type { Micros } from '../lib/time.js';

/** A position in the log, by the database's clock. */
export type Cursor = Micros;

/** Row ids, never encoded. Encoded ids exist only at the HTTP border and in frames. */
export type UserId = number;
export type SessionId = number;
export type HistoryId = number;
/** The columns are 32-bit integers: a larger number would only make the database complain. */
export const MAX_ID = 2 ** 31 - 1;

/** What a message on the bus asks for. Each kind of event has one (`src/events`). */
export interface Task {
  readonly task: string;
}

/** The SSE control tasks (contract, section 3.4), plus Lightcone's own. */
export const TASK_NAMES = [
  'history_update',
  'notify_users',
  'notify_broadcast',
  'entry_point_update',
  'subscribe_history_viewer',
  'unsubscribe_history_viewer',
  'reconfigure_watcher',
  'permissions_changed',
  'await_marks',
] as const;
export type TaskName = (typeof TASK_NAMES)[number];

/**
 * "These histories changed." From the monitor to every worker.
 * `updateTime` is the newest audit time among them (Lightcone's addition; Galaxy's own monitor sends none).
 */
export interface HistoryUpdateTask {
  task: 'history_update';
  userUpdates: ReadonlyMap<UserId, readonly HistoryId[]>;
  sessionUpdates: ReadonlyMap<SessionId, readonly HistoryId[]>;
  updateTime?: Micros;
  /** By how much the newest audit time of a history is earlier than `updateTime`, where it is. */
  earlier?: ReadonlyMap<HistoryId, Micros>;
  eventId?: string;
}

/** `payload` is the notification as compact JSON text and is passed on unchanged. */
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

/** "Elect again now." Sent on a clean stop. */
export interface ReconfigureWatcherTask {
  task: 'reconfigure_watcher';
}

/** "What this session or these viewers may see has changed: look again now." Grants and takes nothing by itself. */
export interface PermissionsChangedTask {
  task: 'permissions_changed';
  /** It has ended, or belongs to another now. */
  sessionId?: SessionId;
  /** Encoded; fewer may see it than before. */
  historyId?: string;
}

/** "Tell the streams of this caller when these writes are out." */
export interface AwaitMarksTask {
  task: 'await_marks';
  marks: readonly string[];
  userId?: UserId;
  sessionId?: SessionId;
}

export type ControlTask =
  | HistoryUpdateTask
  | NotifyUsersTask
  | NotifyBroadcastTask
  | EntryPointUpdateTask
  | HistoryViewerTask
  | ReconfigureWatcherTask
  | PermissionsChangedTask
  | AwaitMarksTask;

/**
 * The leader's tick. `until`: everything committed before this moment is on this channel, ahead of the tick. `sequence` counts up by one per tick of one `leader` (its server name and start), so that a lost tick shows.
 */
export interface Tick {
  leader: string;
  sequence: number;
  until: Cursor;
  /** In the log: all that is visible there is ahead of the tick. Opaque; undefined from a leader that knows none. */
  position?: string;
}

/** Who a history's changes concern. Exactly one of the two is filled: the owner, or the sessions of an anonymous history. */
export interface HistoryAudience {
  historyId: HistoryId;
  userId: UserId | undefined;
  sessionIds: readonly SessionId[];
}

/** A history that changed. */
export interface HistoryChange extends HistoryAudience {
  /** The newest of the audit times that were read. */
  newest: Micros;
}

/** Who an open stream belongs to; fixed for its life, re-checked while it lives. */
export interface Principal {
  userId: UserId | undefined;
  sessionId: SessionId | undefined;
  isAdmin: boolean;
  /** What the permission rests on, to be checked again: the session row, or the API key. */
  credential: Credential;
}

export type Credential =
  | { kind: 'none' }
  | { kind: 'session'; sessionId: SessionId }
  /** `key` is the secret itself: never logged. */
  | { kind: 'api_key'; key: string; userId: UserId }
  | { kind: 'bootstrap_key' }
  /** The application that embeds Lightcone vouches for the caller. */
  | { kind: 'application' };
