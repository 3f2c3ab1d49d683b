/**
 * The interface of an event kind, from the control task on the bus to the frame in a tab. `registry.ts` lists the
 * kinds; bus, dispatcher, catch-up, gap repair and the queue of a tab know no kind by name.
 */
import type { Cursor, HistoryId, Micros, Principal, SessionId, Task, UserId } from '../core/events.js';
import type {
  ChangeLog,
  LogEnd,
  LogPosition,
  NotificationLog,
  OwnerScope,
  WriteMark,
} from '../database/port.js';
import { MICROS_PER_SECOND } from '../lib/time.js';
import type { JsonObject } from './fields.js';
import type { EventId, Frame } from './frame.js';
import type { JsonValue } from './python-json.js';
import type { SinceToken } from './since.js';

/** Reads and writes a control task on the bus. */
export interface TaskForm<T extends Task> {
  readonly name: T['task'];
  /** @throws FieldError with the name of the invalid field */
  read(kwargs: JsonObject): T;
  /** Omits missing optional arguments. Lightcone's own arguments come last. */
  write(task: T): ReadonlyMap<string, JsonValue>;
}

/** A control task and its effect on a worker. */
export interface TaskKind<T extends Task> {
  readonly task: TaskForm<T>;
  /**
   * @returns the audit time of the change if a tab here received it; otherwise undefined, also for a task without a
   * time
   */
  deliver(task: T, streams: OpenStreams): Micros | undefined;
}

/** An event on the stream. Every part is required: a kind without a part sets it to `never`. */
export interface EventKind<T extends Task> extends TaskKind<T> {
  /** Name of the event on the stream. */
  readonly event: string;
  /** Recipients and data of the event, for its row in docs/stream.md. */
  readonly audience: string;
  readonly data: string;
  readonly catchUp: CatchUpPart | 'never';
  /** Reads from the database the tasks that a worker may have missed since the cursor. */
  readonly repair: ((sources: Sources, since: Since) => Promise<readonly T[]>) | 'never';
  /** The subjects under which a worker remembers the kind: the ids of histories, or one number that is not positive. */
  readonly remembers: 'histories' | Subject | 'never';
  /** Reads the memory of the time before the worker's start. */
  readonly preload: ((sources: Sources, before: Before) => Promise<readonly Memory[]>) | 'never';
}

/** An event of catch-ups only; no control task carries it. */
export interface CatchUpKind extends Pick<EventKind<Task>, 'event' | 'audience' | 'data'> {
  readonly catchUp: CatchUpPart;
}

/** The place from which a reader continues. */
export interface Since {
  /** For tables without a log, which have only times: `row_clock_difference` before the cursor. */
  readonly floor: Cursor;
  /**
   * For the log of histories. `null`: older than any known position. `undefined`: unknown, so the log is read by time.
   */
  readonly position: LogPosition | null | undefined;
}

/** The time span before a worker's start. */
export interface Before {
  readonly floor: Cursor;
  /** Or the latest id that a worker may have sent, if the database's clock was set back. */
  readonly now: Cursor;
  /** Positions since `floor` or a little before it; empty if none is known. */
  readonly steps: readonly LogEnd[];
}

/** Times are taken inside transactions, so reads without a position begin this much earlier. */
export const MARGIN: Cursor = 10 * MICROS_PER_SECOND;

/** By how much a worker's estimate of the database's clock, which dates its memory, may trail that of other workers. */
export const MEMORY_MARGIN: Cursor = 2 * MICROS_PER_SECOND;

export interface Sources {
  readonly changeLog: ChangeLog;
  /** Undefined if the notification system is off. */
  readonly notifications: NotificationLog | undefined;
}

// --- delivery --------------------------------------------------------------------------------------------------------

export interface OpenStream {
  readonly principal: Principal;
}

/** The open streams of this worker, as an event kind uses them. */
export interface OpenStreams {
  /** The resume cursor of events that are delivered now. */
  readonly eventId: EventId;
  readonly encodeId: (id: HistoryId) => string;
  readonly decodeId: (text: string) => HistoryId | undefined;
  hasUser(userId: UserId): boolean;
  hasSession(sessionId: SessionId): boolean;
  toUser(userId: UserId, frames: readonly Frame[]): void;
  toSession(sessionId: SessionId, frames: readonly Frame[]): void;
  toAll(frame: Frame): void;
  to(stream: OpenStream, frames: readonly Frame[]): void;
  /** Streams of viewers of this history, without its owner's. */
  viewersOf(historyId: HistoryId): Iterable<OpenStream>;
  readonly hasViewers: boolean;
  /** @returns reconnected streams, which may have missed a change of the history before they subscribed */
  subscribe(viewer: Viewer, historyId: HistoryId): Iterable<OpenStream>;
  unsubscribe(viewer: Viewer, historyId: HistoryId): void;
  /** Notifies this caller's streams once a position includes the marks. */
  awaitMarks(owner: Viewer, marks: readonly WriteMark[]): void;
  /** Checks these permissions now instead of in the next round. */
  recheck(concern: PermissionConcern): void;
  /** The moment under which the memory records a change of this audit time. */
  recordingTime(updateTime?: Micros): Cursor;
  rememberUser(userId: UserId, subject: Subject, at: Cursor, updateTime: Micros): void;
  rememberSession(sessionId: SessionId, subject: Subject, at: Cursor, updateTime: Micros): void;
}

/** Permissions that may have ended: of the streams of a session, or of the viewers of a history. */
export interface PermissionConcern {
  sessionId?: SessionId | undefined;
  historyId?: HistoryId | undefined;
}

export interface Viewer {
  userId?: UserId;
  sessionId?: SessionId;
}

// --- memory and catch-up -----------------------------------------------------------------------------------------------

/**
 * The subject of a remembered event: the id of a history, or a number of the kind's own (zero or negative) for a state
 * of the owner.
 */
export type Subject = number;

/** One remembered event of one owner. */
export interface Memory {
  readonly owner: Viewer;
  readonly subject: Subject;
  readonly at: Cursor;
  readonly updateTime: Micros;
}

/** What this worker remembers for one reconnecting tab since its cursor. */
export interface Remembered {
  readonly subjects: ReadonlySet<Subject>;
  /** The newest audit time among them; 0 if unknown. */
  readonly updateTime: Micros;
}

/** Replaces a cursor that is older than the log: everything may have changed. */
export const START_OVER: Cursor = Number.NEGATIVE_INFINITY;

export interface Question {
  readonly principal: Principal;
  /** Histories of other owners that the tab views. */
  readonly viewed: readonly HistoryId[];
  /** `MARGIN` before its cursor, or `START_OVER`. */
  readonly since: Cursor;
  readonly position: Since['position'];
  /** False once the tab is closed. */
  readonly isWanted: () => boolean;
}

/** The joint question of all tabs of a caller, since the oldest of their cursors. */
export interface JointQuestion {
  /** Or `START_OVER`. */
  readonly since: Cursor;
  readonly position: Since['position'];
  readonly userId: UserId | undefined;
  readonly sessionIds: ReadonlySet<SessionId>;
  readonly viewed: ReadonlySet<HistoryId>;
}

/** Reads for catch-ups: one per caller at a time, so that no caller delays another, and a small total. */
export interface CatchUpReads {
  readonly changeLog: ChangeLog;
  /**
   * @param kind reads of the same kind are joined
   * @returns the result for all tabs of the caller, which may contain more than this tab needs
   */
  jointly<T>(kind: string, question: Question, read: (joint: JointQuestion) => Promise<T>): Promise<T>;
  /** The notification status as JSON; undefined if the notification system is off. */
  status(question: Question): Promise<string> | undefined;
}

/** Reads owner by owner, so that a caller with many sessions uses one connection only. */
export async function readByOwner<T>(
  { userId, sessionIds }: Pick<JointQuestion, 'userId' | 'sessionIds'>,
  read: (owner: OwnerScope) => Promise<readonly T[]>,
): Promise<T[]> {
  const found: T[] = userId === undefined ? [] : [...(await read({ kind: 'user', userId }))];
  for (const sessionId of sessionIds) found.push(...(await read({ kind: 'session', sessionId })));
  return found;
}

export type FrameMaker = (
  eventId: EventId,
  encodeId: (id: HistoryId) => string,
  /** The position from which the tab should request what it missed. */
  since?: SinceToken,
) => Frame;

export interface CatchUpPart {
  /** `never` if the database is always read. */
  readonly fromMemory: ((remembered: Remembered) => FrameMaker[]) | 'never';
  fromDatabase(question: Question, reads: CatchUpReads): Promise<FrameMaker[]>;
}
