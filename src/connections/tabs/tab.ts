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
import type { Batch, Position } from '../../events/frame.js';
import type { SocketHandle } from '../../node-internals/direct-writes.js';
import type { PendingQueue } from '../writing/pending-queue.js';

export type TabState = 'catching_up' | 'live' | 'blocked' | 'lagging' | 'closed';

export class Tab {
  state: TabState = 'live';
  /** What arrived in this event-loop turn. */
  pending: Batch | undefined = undefined;
  queue: PendingQueue | undefined = undefined;
  /** Of the socket, where it is written to past its stream (`node-internals/direct-writes.ts`). */
  handle: SocketHandle | undefined = undefined;
  /** Second (of the manager's wheel) of the last write to a socket that had taken everything before it. */
  lastWrite = 0;

  /** Counts up within this process. */
  id = 0;
  /** Seconds of the Unix epoch; never falls as ids grow. */
  openedAt = 0;

  // Places in registry and wheel, so that adding and removing cost the same with one tab and with 20,000.
  index = -1;
  wheelSlot = -1;
  wheelIndex = -1;
  nextOfUser: Tab | undefined = undefined;
  previousOfUser: Tab | undefined = undefined;
  nextOfSession: Tab | undefined = undefined;
  previousOfSession: Tab | undefined = undefined;

  constructor(
    /** The socket itself once it was taken off the HTTP server, else the response. */
    readonly out: Writable,
    /** Whether this tab's bytes must be chunk-encoded here (a socket), or not (HTTP/1.0, or a response that does it). */
    readonly chunked: boolean,
    readonly principal: Principal,
    /** Resume cursor of the last frame that was handed to the socket. */
    public position: Position,
    /** The cursor that this tab came back with: a viewer's subscription that follows must be caught up from it as well. */
    readonly resumedFrom: Cursor | undefined,
    /** Of who has no user, where streams are counted by address. */
    readonly address?: string | undefined,
    /** The caller's address, for administrators. */
    readonly from: string = 'unknown',
  ) {}
}
