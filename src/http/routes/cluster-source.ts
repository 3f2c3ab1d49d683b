/** The data of the status page about the whole installation; `app/` passes the implementation. */
import type { Counters, OpenStream, ProcessNotice, Refusal, StreamQuestion } from '../../core/notices.js';

export interface ClusterProcess
  extends Omit<ProcessNotice, 'notice' | 'refusals' | 'deliveries' | 'sequence'> {
  key: string;
  /** `silent`: no notice for some seconds; `stopped`: it announced its stop. */
  state: 'heard' | 'silent' | 'stopped';
  heard_ms: number;
}

export interface ClusterNow {
  /** Key of this process. */
  self: string;
  processes: ClusterProcess[];
  /** The newest ones, oldest first. */
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
  /** From commit to socket, in milliseconds; null if nothing was delivered. */
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

/** An event of a user in this worker's memory. */
export interface Told {
  /** Microseconds of the Unix epoch, database clock; 0 if unknown. */
  at: number;
  updateTime: number;
  /** The id of a history, or zero or less for a state of the user. */
  subject: number;
}

export interface ClusterSource {
  now(): ClusterNow;
  history(): History;
  /** Called once a second, with the bucket that ended, if any. @returns a function that removes the listener */
  onSecond(listener: (bucket: HistoryBucket | undefined) => void): () => void;
  streams(question: StreamQuestion): Promise<StreamPage>;
  /** @returns false if there is no such process or stream. @throws LightconeError BUS_UNAVAILABLE */
  closeStream(process: string, id: number): Promise<boolean>;
  /** Newest first. */
  toldTo(userId: number): Told[];
}
