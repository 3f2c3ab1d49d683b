/**
 * What the processes of one installation tell each other of themselves, for the status page. A **notice** is no control task:
 * it says nothing of changes, moves no cursor, and may be lost.
 */

/** As of now; null where it is not known, or not this process's business. */
export const GAUGES = [
  'streams',
  'users',
  'sessions',
  'limit',
  /** Events in the queues of tabs whose sockets are full. */
  'waiting',
  /** Such tabs. */
  'blocked',
  'watermark_age_ms',
  'cursor_age_ms',
] as const;
export type Gauges = Record<(typeof GAUGES)[number], number | null>;

/** Since the start of the process. */
export const COUNTERS = [
  'changes_seen',
  'tasks_published',
  'tasks_skipped',
  'tasks_received',
  'tasks_invalid',
  'history_update',
  'notify_users',
  'notify_broadcast',
  'entry_point_update',
  'events_queued',
  'events_merged',
  'events_written',
  'events_dropped',
  'resumed_memory',
  'resumed_database',
  'gaps_repaired',
  'streams_refused',
  'streams_closed',
] as const;
export type Counters = Record<(typeof COUNTERS)[number], number>;

/** Of one notice. */
export const MOST_PROBLEMS = 10;
export const LONGEST_PROBLEM = 400;
export const MOST_REFUSALS = 5;

/** A stream that was asked for and not given. */
export interface Refusal {
  /** Milliseconds of the Unix epoch, by the clock of the process. */
  at: number;
  /** A code of `core/errors.ts`. */
  reason: string;
  address: string;
}

/** Once a second, from every process. */
export interface ProcessNotice {
  notice: 'process';
  name: string;
  host: string;
  pid: number;
  /** Milliseconds of the Unix epoch. Tells two processes of the same name and pid apart. */
  startedAt: number;
  /** Counts up by one: an older one that comes again is ignored. */
  sequence: number;
  role: 'worker' | 'monitor';
  version: string;
  /** Its last word. */
  leaving: boolean;
  ready: boolean;
  problems: readonly string[];
  database: string;
  bus: string;
  /** For how long it has been the monitor; null while it is not. */
  leadingSeconds: number | null;
  /** Whom it hears as the leader. */
  leader: string | null;
  gauges: Gauges;
  counters: Counters;
  /** From the audit time of a change to the write on the socket: `telemetry/histogram.ts`, since the start. */
  deliveries: readonly number[];
  /** The newest that the last notice did not tell. */
  refusals: readonly Refusal[];
}

export const TAB_STATES = ['live', 'catching_up', 'blocked', 'lagging'] as const;

/** Which open streams are asked for: those that fit, newest first, after the place where the last page ended. */
export interface StreamQuestion {
  limit: number;
  userId?: number;
  /** Beginning of the address. */
  address?: string;
  state?: (typeof TAB_STATES)[number];
  after?: StreamPlace;
}

/** Where a stream stands in the list of all streams: by `openedAt`, then process, then id. */
export interface StreamPlace {
  openedAt: number;
  process: string;
  id: number;
}

export interface OpenStream {
  id: number;
  /** Seconds of the Unix epoch, by the clock of its process. */
  openedAt: number;
  userId: number | null;
  address: string;
  state: (typeof TAB_STATES)[number];
  waiting: number;
}

/** "Which streams are open with you?" */
export interface AskStreamsNotice {
  notice: 'ask_streams';
  /** Random: the answers carry it. */
  question: string;
  streams: StreamQuestion;
}

export interface StreamsNotice {
  notice: 'streams';
  question: string;
  process: string;
  /** How many fit, pages before this one included. */
  total: number;
  streams: readonly OpenStream[];
}

/** "End this stream." */
export interface CloseStreamNotice {
  notice: 'close_stream';
  process: string;
  id: number;
}

export type Notice = ProcessNotice | AskStreamsNotice | StreamsNotice | CloseStreamNotice;

/** Unlike that of any other process, also of one that had its name and pid before. */
export const processKey = ({ name, host, pid, startedAt }: ProcessNotice): string =>
  `${name}@${host}/${pid}.${startedAt}`;

export const MOST_STREAMS_A_PAGE = 100;
