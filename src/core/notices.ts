/**
 * Messages of the processes of an installation about themselves, for the status page. A **notice** is not a control
 * task: it reports no changes, moves no cursor, and may be lost.
 */

/** Current values; null where the process does not know the value or has none. */
export const GAUGES = [
  'streams',
  'users',
  'sessions',
  'limit',
  /** Events that wait in the queues of blocked tabs. */
  'waiting',
  /** Tabs whose sockets are full. */
  'blocked',
  'watermark_age_ms',
  'cursor_age_ms',
] as const;
export type Gauges = Record<(typeof GAUGES)[number], number | null>;

/** Totals since the start of the process. */
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

/** Limits of one notice. */
export const MOST_PROBLEMS = 10;
export const LONGEST_PROBLEM = 400;
export const MOST_REFUSALS = 5;

/** A refused stream. */
export interface Refusal {
  /** Milliseconds of the Unix epoch, by the clock of the process. */
  at: number;
  /** A code of `core/errors.ts`. */
  reason: string;
  address: string;
}

/** Each process sends it once a second. */
export interface ProcessNotice {
  notice: 'process';
  name: string;
  host: string;
  pid: number;
  /** Milliseconds of the Unix epoch. Distinguishes two processes with the same name and pid. */
  startedAt: number;
  /** Increases by one. Receivers ignore a notice with an older number. */
  sequence: number;
  role: 'worker' | 'monitor';
  version: string;
  /** True in the last notice of the process. */
  leaving: boolean;
  ready: boolean;
  problems: readonly string[];
  database: string;
  bus: string;
  /** The time for which it has been the monitor; null if it is not. */
  leadingSeconds: number | null;
  /** The leader whose messages it receives. */
  leader: string | null;
  gauges: Gauges;
  counters: Counters;
  /**
   * Histogram of the time from the audit time of a change to its write to the socket, since the start
   * (`telemetry/histogram.ts`).
   */
  deliveries: readonly number[];
  /** The newest ones since the previous notice. */
  refusals: readonly Refusal[];
}

export const TAB_STATES = ['live', 'catching_up', 'blocked', 'lagging'] as const;

/** A request for a page of open streams: the matching ones, newest first, after the end of the previous page. */
export interface StreamQuestion {
  limit: number;
  userId?: number;
  /** A prefix of the address. */
  address?: string;
  state?: (typeof TAB_STATES)[number];
  after?: StreamPlace;
}

/** The position of a stream in the list of all streams: `openedAt`, then process, then id. */
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

/** "Which of your open streams match?" */
export interface AskStreamsNotice {
  notice: 'ask_streams';
  /** A random id, which the answers repeat. */
  question: string;
  streams: StreamQuestion;
}

export interface StreamsNotice {
  notice: 'streams';
  question: string;
  process: string;
  /** The number of matching streams, including previous pages. */
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

/** Unique for each process, even if an earlier one had the same name and pid. */
export const processKey = ({ name, host, pid, startedAt }: ProcessNotice): string =>
  `${name}@${host}/${pid}.${startedAt}`;

export const MOST_STREAMS_A_PAGE = 100;
