/**
 * Limits connections that wait for their peer: for its next request, or for it to read an answer. They hold shared
 * resources (file descriptors, bytes), so they are few and not for long. Streams are not among them.
 */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { peerOf } from './auth/addresses.js';

export interface WaitingLimits {
  /** Maximum number of idle connections. */
  idle: number;
  /** Time to read an answer, from its end on. */
  unreadSeconds: number;
  /** Total bytes of unread answers. */
  unreadBytes: number;
}

const STATE = Symbol('what is known of a connection of the server');
interface Served {
  peer: string;
  /** Unanswered requests. */
  open: number;
}
type ServedSocket = Socket & { [STATE]?: Served };

const LOOK_MS = 1_000;

export class WaitingConnections {
  /** By peer, the longest idle one first. */
  readonly #idle = new Map<string, Set<ServedSocket>>();
  #idleCount = 0;
  #closesSoon = false;
  /**
   * Complete answers, with the time of completion. A response that may become a stream is not recorded: it would stay
   * here.
   */
  readonly #answers = new Map<ServerResponse, number>();
  #looking: NodeJS.Timeout | undefined;

  constructor(private readonly limits: WaitingLimits) {}

  limit(server: Server): Server {
    const complete = (answer: ServerResponse): void => this.#complete(answer);
    const answered = (answer: ServerResponse): void => this.#answered(answer);
    const gone = (socket: ServedSocket): void => this.#stopWaiting(socket);
    const onComplete = function (this: ServerResponse): void {
      complete(this);
    };
    const onAnswered = function (this: ServerResponse): void {
      answered(this);
    };
    const onGone = function (this: ServedSocket): void {
      gone(this);
    };
    server.prependListener('connection', (socket: ServedSocket) => {
      socket[STATE] = { peer: peerOf(socket), open: 0 };
      socket.on('close', onGone);
    });
    server.prependListener('request', ({ socket }, response: ServerResponse) => {
      this.#stopWaiting(socket);
      const state = (socket as ServedSocket)[STATE];
      if (state !== undefined) state.open += 1;
      response.on('prefinish', onComplete).on('close', onAnswered);
    });
    server.on('close', () => this.#stopLooking());
    return server;
  }

  #complete(answer: ServerResponse): void {
    this.#answers.set(answer, performance.now());
    this.#looking ??= setInterval(() => this.#lookAtAnswers(), LOOK_MS).unref();
  }

  #answered(answer: ServerResponse): void {
    this.#answers.delete(answer);
    const socket = answer.req.socket as ServedSocket;
    const state = socket[STATE];
    // Connections of another program's server are not ours to close.
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

  /** Not before pending data is read: a request on one of them would be lost. */
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

  /**
   * Closes one of the peer with most of them, so that a proxy's connections survive a flood. The peer simply
   * reconnects.
   */
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
    const unread: ServerResponse[] = [];
    let bytes = 0;
    for (const [answer, since] of this.#answers) {
      if (now - since > unreadSeconds * 1000) answer.req.socket.destroy();
      else if (!answer.writableFinished) {
        unread.push(answer);
        bytes += answer.writableLength;
      }
    }
    for (const answer of unread) {
      if (bytes <= unreadBytes) return;
      bytes -= answer.writableLength;
      answer.req.socket.destroy();
    }
  }
}
