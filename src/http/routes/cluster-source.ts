/** What the status page is told of the whole installation; `app/` passes the implementation. */
import type { Counters, OpenStream, ProcessNotice, Refusal, StreamQuestion } from '../../core/notices.js';

export interface ClusterProcess
  extends Omit<ProcessNotice, 'notice' | 'refusals' | 'deliveries' | 'sequence'> {
  key: string;
  /** `silent`: nothing was heard for some seconds; `stopped`: it said that it stops. */
  state: 'heard' | 'silent' | 'stopped';
  heard_ms: number;
}

export interface ClusterNow {
  /** Key of the process that tells this. */
  self: string;
  processes: ClusterProcess[];
  /** The newest, oldest first. */
  refusals: readonly (Refusal & { process: string })[];
}

/** All processes together, and the watermark of each worker. */
export interface HistoryBucket {
  /** Seconds of the Unix epoch at its end. */
  at: number;
  streams: number;
  waiting: number;
  /** Per second. */
  rates: Counters;
  /** From commit to socket, in milliseconds; null where nothing was delivered. */
  p50: number | null;
  p99: number | null;
  watermarks: Record<string, number>;
}

export interface History {
  bucket_seconds: number;
  buckets: readonly HistoryBucket[];
}

export interface StreamPage {
  total: number;
  streams: (OpenStream & { process: string; name: string })[];
  /** Names of workers that did not answer in time. */
  silent: string[];
}

/** One thing of which a user was told, as this worker remembers it. */
export interface Told {
  /** Microseconds of the Unix epoch, database clock; 0 when unknown. */
  at: number;
  updateTime: number;
  /** A history, or zero or less for a state of the user. */
  subject: number;
}

export interface ClusterSource {
  now(): ClusterNow;
  history(): History;
  /** Called once a second with the bucket that ended, where one did. @returns removes the listener */
  onSecond(listener: (bucket: HistoryBucket | undefined) => void): () => void;
  streams(question: StreamQuestion): Promise<StreamPage>;
  /** @returns false where there is no such process or stream. @throws LightconeError BUS_UNAVAILABLE */
  closeStream(process: string, id: number): Promise<boolean>;
  /** Newest first. */
  toldTo(userId: number): Told[];
}
