/**
 * Connections that wait for their peer: for its next request, or for it to read an answer. What they hold (a file descriptor,
 * the bytes) would be everybody's, so they are few, and not for long. Streams are not among them.
 */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { peerOf } from './auth/addresses.js';

export interface WaitingLimits {
  /** Connections that may wait for another request. */
  idle: number;
  /** For an answer to be read, from its end on. */
  unreadSeconds: number;
  /** Of answers together that wait to be read. */
  unreadBytes: number;
}

const STATE = Symbol('what is known of a connection of the server');
const ANSWERS = Symbol('the answers among which this one is');
interface Served {
  peer: string;
  /** Requests that are not answered yet. */
  open: number;
}
type ServedSocket = Socket & { [STATE]?: Served };
type Answer = ServerResponse & { [ANSWERS]?: Map<Answer, number> | undefined };

const LOOK_MS = 1_000;

/** The connection has become a stream, and is not the server's any more. */
export function leaveServer(response: ServerResponse): void {
  (response as Answer)[ANSWERS]?.delete(response);
}

export class WaitingConnections {
  /** Of each peer, the one that waits longest first. */
  readonly #idle = new Map<string, Set<ServedSocket>>();
  #idleCount = 0;
  #closesSoon = false;
  /** With the moment since which each has only waited to be read; 0 before that. */
  readonly #answers = new Map<Answer, number>();
  #looking: NodeJS.Timeout | undefined;

  constructor(private readonly limits: WaitingLimits) {}

  limit(server: Server): Server {
    const answered = (answer: Answer): void => this.#answered(answer);
    const gone = (socket: ServedSocket): void => this.#stopWaiting(socket);
    const onAnswered = function (this: Answer): void {
      answered(this);
    };
    const onGone = function (this: ServedSocket): void {
      gone(this);
    };
    server.prependListener('connection', (socket: ServedSocket) => {
      socket[STATE] = { peer: peerOf(socket), open: 0 };
      socket.on('close', onGone);
    });
    server.prependListener('request', ({ socket }, response: Answer) => {
      this.#stopWaiting(socket);
      const state = (socket as ServedSocket)[STATE];
      if (state !== undefined) state.open += 1;
      response[ANSWERS] = this.#answers;
      this.#answers.set(response, 0);
      response.on('close', onAnswered);
      this.#looking ??= setInterval(() => this.#lookAtAnswers(), LOOK_MS).unref();
    });
    server.on('close', () => this.#stopLooking());
    return server;
  }

  #answered(answer: Answer): void {
    this.#answers.delete(answer);
    const socket = answer.req.socket as ServedSocket;
    const state = socket[STATE];
    // That of another program's server is not ours to close.
    if (state === undefined || socket.destroyed) return;
    state.open -= 1;
    if (state.open > 0) return;
    const idle = this.#idle.get(state.peer) ?? new Set();
    this.#idle.set(state.peer, idle.add(socket));
    this.#idleCount += 1;
    if (this.#idleCount > this.limits.idle) this.#closeSoon();
  }

  #stopWaiting(socket: ServedSocket): void {
    const peer = socket[STATE]?.peer;
    const idle = peer === undefined ? undefined : this.#idle.get(peer);
    if (!idle?.delete(socket)) return;
    this.#idleCount -= 1;
    if (idle.size === 0) this.#idle.delete(peer!);
  }

  /** Not before what has arrived meanwhile is read: a request on one of them would be lost. */
  #closeSoon(): void {
    if (this.#closesSoon) return;
    this.#closesSoon = true;
    setImmediate(() =>
      setImmediate(() => {
        this.#closesSoon = false;
        while (this.#idleCount > this.limits.idle) this.#closeOldest();
      }),
    );
  }

  /** Of the peer that has most, so that the connections of a proxy outlive a flood. Whoever asked on it just connects anew. */
  #closeOldest(): void {
    let most = new Set<ServedSocket>();
    for (const idle of this.#idle.values()) if (idle.size > most.size) most = idle;
    const [oldest] = most;
    this.#stopWaiting(oldest!);
    oldest!.destroy();
  }

  #stopLooking(): void {
    clearInterval(this.#looking);
    this.#looking = undefined;
  }

  #lookAtAnswers(): void {
    if (this.#answers.size === 0) this.#stopLooking();
    const now = performance.now();
    const { unreadSeconds, unreadBytes } = this.limits;
    const unread: Answer[] = [];
    let bytes = 0;
    for (const [answer, since] of this.#answers) {
      // One that stood behind another never hears that its connection is gone.
      if (answer.req.socket.destroyed) this.#answers.delete(answer);
      if (!this.#answers.has(answer) || !answer.writableEnded || answer.writableFinished) continue;
      if (since === 0) this.#answers.set(answer, now);
      else if (now - since > unreadSeconds * 1000) answer.req.socket.destroy();
      if (answer.req.socket.destroyed) continue;
      unread.push(answer);
      bytes += answer.writableLength;
    }
    for (const answer of unread) {
      if (bytes <= unreadBytes) return;
      bytes -= answer.writableLength;
      answer.req.socket.destroy();
    }
  }
}
