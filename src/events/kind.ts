/**
 * One kind of event: everything there is to say about it, from the control task on the bus to the frame in a tab. The kinds
 * stand in `registry.ts`; bus, dispatcher, catch-up, gap repair and the queue of a tab know no kind by name.
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
import type { Frame, Position } from './frame.js';
import type { JsonValue } from './python-json.js';
import type { SinceToken } from './since.js';

/** Both ends of a control task's form on the bus. */
export interface TaskForm<T extends Task> {
  readonly name: T['task'];
  /** @throws FieldError naming the field that is wrong */
  read(kwargs: JsonObject): T;
  /** Optional arguments that are absent are left out; Lightcone's own come last. */
  write(task: T): ReadonlyMap<string, JsonValue>;
}

/** A control task and what a worker does with it. */
export interface TaskKind<T extends Task> {
  readonly task: TaskForm<T>;
  /** @returns the audit time of the change if it was delivered to a tab here; undefined if it was not, or has none */
  deliver(task: T, streams: OpenStreams): Micros | undefined;
}

/** An event on the stream. Every part is required: a part that a kind does not have is said to be `never`. */
export interface EventKind<T extends Task> extends TaskKind<T> {
  /** Name of the event on the stream. */
  readonly event: string;
  /** Who is told, and what the event says: a row of docs/stream.md. */
  readonly audience: string;
  readonly data: string;
  readonly catchUp: CatchUpPart | 'never';
  /** Tasks that a worker may have missed since the cursor, as the database tells them. */
  readonly repair: ((sources: Sources, since: Since) => Promise<readonly T[]>) | 'never';
  /** What is remembered of the time before the worker started. */
  readonly preload: ((sources: Sources, before: Before) => Promise<readonly Memory[]>) | 'never';
}

/** An event that exists in a catch-up only; nothing on the bus carries it. */
export interface CatchUpKind extends Pick<EventKind<Task>, 'event' | 'audience' | 'data'> {
  readonly catchUp: CatchUpPart;
}

/** Where somebody left off. */
export interface Since {
  /** For what has no log but times, `row_clock_difference` before the cursor. */
  readonly floor: Cursor;
  /** In the log of histories. `null`: older than any that is known; `undefined`: nobody knows, and times are asked for. */
  readonly position: LogPosition | null | undefined;
}

/** The time before a worker's start. */
export interface Before {
  readonly floor: Cursor;
  /** Or the latest id that may have been given out, where the database's clock was set back. */
  readonly now: Cursor;
  /** Positions from `floor` on, or a little before it; empty where none is known. */
  readonly steps: readonly LogEnd[];
}

/** Times are taken inside transactions: what has no position is asked for from so much earlier on. */
export const MARGIN: Cursor = 10 * MICROS_PER_SECOND;

/** How far a worker's estimate of the database's clock, under which it remembers tasks, may trail that of others. */
export const MEMORY_MARGIN: Cursor = 2 * MICROS_PER_SECOND;

export interface Sources {
  readonly changeLog: ChangeLog;
  /** Undefined where the notification system is off. */
  readonly notifications: NotificationLog | undefined;
}

// --- delivery --------------------------------------------------------------------------------------------------------

export interface OpenStream {
  readonly principal: Principal;
}

/** The open streams of this worker, as a kind sees them. */
export interface OpenStreams {
  /** The resume cursor that goes out with what is delivered now. */
  readonly position: Position;
  readonly encodeId: (id: HistoryId) => string;
  readonly decodeId: (text: string) => HistoryId | undefined;
  hasUser(userId: UserId): boolean;
  hasSession(sessionId: SessionId): boolean;
  toUser(userId: UserId, frames: readonly Frame[]): void;
  toSession(sessionId: SessionId, frames: readonly Frame[]): void;
  toAll(frame: Frame): void;
  to(stream: OpenStream, frames: readonly Frame[]): void;
  /** Streams that look at a history without owning it. */
  viewersOf(historyId: HistoryId): Iterable<OpenStream>;
  readonly hasViewers: boolean;
  /** @returns streams that came back, and may have missed a change of the history before they subscribed */
  subscribe(viewer: Viewer, historyId: HistoryId): Iterable<OpenStream>;
  unsubscribe(viewer: Viewer, historyId: HistoryId): void;
  /** Told to this caller's streams once a position includes them. */
  awaitMarks(owner: Viewer, marks: readonly WriteMark[]): void;
  /** Checks these permissions now instead of in the next round. */
  recheck(concern: PermissionConcern): void;
  /** The moment under which a change of this audit time is remembered for tabs that come back. */
  recordingTime(updateTime?: Micros): Cursor;
  rememberUser(userId: UserId, subject: Subject, at: Cursor, updateTime: Micros): void;
  rememberSession(sessionId: SessionId, subject: Subject, at: Cursor, updateTime: Micros): void;
}

/** Whose permission may have ended: the streams of a session, the viewers of a history. */
export interface PermissionConcern {
  sessionId?: SessionId | undefined;
  historyId?: HistoryId | undefined;
}

export interface Viewer {
  userId?: UserId;
  sessionId?: SessionId;
}

// --- memory and catch-up -----------------------------------------------------------------------------------------------

/** What was told: a history (its id), or a state of the owner (a number of the kind's own, zero or negative). */
export type Subject = number;

/** One thing told to one owner. */
export interface Memory {
  readonly owner: Viewer;
  readonly subject: Subject;
  readonly at: Cursor;
  readonly updateTime: Micros;
}

/** What this worker remembers having told one returning tab since its cursor. */
export interface Remembered {
  readonly subjects: ReadonlySet<Subject>;
  /** Newest audit time among them; 0 when unknown. */
  readonly updateTime: Micros;
}

/** In the place of a cursor that is older than any that the log is asked for: everything may have changed. */
export const START_OVER: Cursor = Number.NEGATIVE_INFINITY;

export interface Question {
  readonly principal: Principal;
  /** Histories that the tab looks at without owning them. */
  readonly viewed: readonly HistoryId[];
  /** `MARGIN` before its cursor, or `START_OVER`. */
  readonly since: Cursor;
  readonly position: Since['position'];
  /** False once the tab is closed. */
  readonly isWanted: () => boolean;
}

/** What the tabs of one caller ask together: since the oldest of their cursors. */
export interface JointQuestion {
  /** Or `START_OVER`. */
  readonly since: Cursor;
  readonly position: Since['position'];
  readonly userId: UserId | undefined;
  readonly sessionIds: ReadonlySet<SessionId>;
  readonly viewed: ReadonlySet<HistoryId>;
}

/** Reads of a catch-up: one of each caller at a time, so that no caller holds up another, and few of all. */
export interface CatchUpReads {
  readonly changeLog: ChangeLog;
  /**
   * @param kind the reads of one kind are joined
   * @returns what the caller's tabs asked for together, which may be more than this one asked for
   */
  jointly<T>(kind: string, question: Question, read: (joint: JointQuestion) => Promise<T>): Promise<T>;
  /** The notification status as JSON; undefined where the notification system is off. */
  status(question: Question): Promise<string> | undefined;
}

/** One statement after the other: a caller that reads much takes one connection and no more. */
export async function readByOwner<T>(
  { userId, sessionIds }: Pick<JointQuestion, 'userId' | 'sessionIds'>,
  read: (owner: OwnerScope) => Promise<readonly T[]>,
): Promise<T[]> {
  const found: T[] = userId === undefined ? [] : [...(await read({ kind: 'user', userId }))];
  for (const sessionId of sessionIds) found.push(...(await read({ kind: 'session', sessionId })));
  return found;
}

export type FrameMaker = (
  position: Position,
  encodeId: (id: HistoryId) => string,
  /** Since when the tab should ask for what it missed. */
  since?: SinceToken,
) => Frame;

export interface CatchUpPart {
  /** `never` where the database is always asked. */
  readonly fromMemory: ((remembered: Remembered) => FrameMaker[]) | 'never';
  fromDatabase(question: Question, reads: CatchUpReads): Promise<FrameMaker[]>;
}
