/** Limits connections without a request per peer: a flood of them must not use up the file descriptors. */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { peerOf } from './addresses.js';

const PEER = Symbol('the peer that a connection counts for while its first request is awaited');
type WaitingSocket = Socket & { [PEER]?: string | undefined };

export class Handshakes {
  readonly #ofPeers = new Map<string, Set<Socket>>();

  /** @param most per peer; further connections are closed at once */
  limit(server: Server, most: number): Server {
    const leave = (socket: WaitingSocket): void => this.#leave(socket);
    const onClose = function (this: WaitingSocket): void {
      leave(this);
    };
    server.prependListener('connection', (socket: WaitingSocket) => {
      const peer = peerOf(socket);
      const waiting = this.#ofPeers.get(peer) ?? new Set();
      if (waiting.size >= most) {
        socket.destroy();
        return;
      }
      this.#ofPeers.set(peer, waiting.add(socket));
      socket[PEER] = peer;
      socket.on('close', onClose);
    });
    server.prependListener('request', ({ socket }) => leave(socket));
    return server;
  }

  /**
   * Browsers open connections that they may never use, and Node.js waits for them when a server closes
   * (nodejs/node#63452).
   */
  end(): void {
    for (const waiting of this.#ofPeers.values()) for (const socket of waiting) socket.destroy();
  }

  #leave(socket: WaitingSocket): void {
    const peer = socket[PEER];
    if (peer === undefined) return;
    socket[PEER] = undefined;
    const waiting = this.#ofPeers.get(peer)!;
    waiting.delete(socket);
    if (waiting.size === 0) this.#ofPeers.delete(peer);
  }
}
