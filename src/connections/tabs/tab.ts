/**
 * One open stream. A tab is small, because there are many: no closure, no timer, no set of its own. What waits is in an
 * `PendingQueue` that exists only while something has to wait.
 *
 * ```
 *   catching_up ──catch-up written──► live ──socket full──► blocked ──drain──► live
 *        ▲                                                    │ outbox full
 *        └───────────────── drain ◄─────────── lagging ◄──────┘
 *   any ──close, error, revoked, no progress──► closed
 * ```
 */
import type { Writable } from 'node:stream';
import type { Cursor, Principal } from '../../core/events.js';
import type { Batch, EventId } from '../../events/frame.js';
import type { SocketHandle } from '../../node-internals/direct-writes.js';
import type { PendingQueue } from '../writing/pending-queue.js';

export type TabState = 'catching_up' | 'live' | 'blocked' | 'lagging' | 'closed';

export class Tab {
  state: TabState = 'live';
  /** The frames that arrived in this event-loop turn. */
  pending: Batch | undefined = undefined;
  queue: PendingQueue | undefined = undefined;
  /** The handle of the socket, if writes bypass its stream (`node-internals/direct-writes.ts`). */
  handle: SocketHandle | undefined = undefined;
  /** The second (of the manager's wheel) of the last write to a socket that had taken everything before it. */
  lastWrite = 0;

  /** Increases by one within this process. */
  id = 0;
  /** Seconds of the Unix epoch; never decreases while ids grow. */
  openedAt = 0;

  // Indexes in registry and wheel, so that adding and removing cost the same with one tab and with 20,000.
  index = -1;
  wheelSlot = -1;
  wheelIndex = -1;
  nextOfUser: Tab | undefined = undefined;
  previousOfUser: Tab | undefined = undefined;
  nextOfSession: Tab | undefined = undefined;
  previousOfSession: Tab | undefined = undefined;

  constructor(
    /** The socket itself after it was detached from the HTTP server, otherwise the response. */
    readonly out: Writable,
    /** Whether this process must chunk-encode the bytes (a socket), or not (HTTP/1.0, or a response that does it). */
    readonly chunked: boolean,
    readonly principal: Principal,
    /** The resume cursor of the last frame that was written to the socket. */
    public eventId: EventId,
    /** The cursor of the tab's reconnect. A viewer's subscription that follows must be caught up from it, too. */
    readonly resumedFrom: Cursor | undefined,
    /** The address of a caller without a user, if streams are counted by address. */
    readonly address?: string | undefined,
    /** The caller's address, for administrators. */
    readonly from: string = 'unknown',
  ) {}
}
