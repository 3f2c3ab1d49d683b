/** What tabs and the hub that holds their stream say to each other. Version it: two versions of the client never share. */
import type { State } from './states.js';

export const PROTOCOL = 1;

/** Everything that makes two tabs one stream. */
export interface StreamSettings {
  /** Ends in a slash. */
  baseUrl: string;
  apiKey: string;
  withCredentials: boolean;
  /** Who the cookie speaks for; the hub stops when it speaks for somebody else. */
  identity: string;
  keepaliveMs: number;
  polling: boolean;
}

export interface StreamEvent {
  /** Counts the events of one browser, whoever holds the stream. */
  seq: number;
  name: string;
  /** JSON text. */
  data: string;
  id: string;
}

export type ToHub = { tab: string } & (
  | { t: 'hello'; settings: StreamSettings; seq: number; cursor: string; watched: string[]; visible: boolean }
  | { t: 'watch'; watched: string[]; visible: boolean }
  | { t: 'alive' }
  | { t: 'wake' }
  | { t: 'bye' }
);

export type FromHub =
  /** Another hub answers from here on: introduce yourself. */
  | { t: 'leader' }
  | ({ t: 'event'; to?: string } & StreamEvent)
  | { t: 'state'; to?: string; state: State; seq: number; cursor: string; reason: string }
  | { t: 'alive'; to?: string; seq: number; cursor: string }
  | { t: 'refused'; historyId: string; status: number };

export const keyOf = (settings: StreamSettings): string => JSON.stringify([PROTOCOL, settings]);
