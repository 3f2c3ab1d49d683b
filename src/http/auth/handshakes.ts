/** Connections that ask for nothing are few for each peer: a flood of them must not take the file descriptors of everybody. */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { peerOf } from './addresses.js';

const PEER = Symbol('the peer that a connection counts for while its first request is awaited');
type WaitingSocket = Socket & { [PEER]?: string | undefined };

/** @param most of one peer at a time; those that come when there are as many are closed */
export function limitHandshakes(server: Server, most: number): Server {
  const waiting = new Map<string, number>();
  function leave(this: WaitingSocket): void {
    const peer = this[PEER];
    if (peer === undefined) return;
    this[PEER] = undefined;
    const count = waiting.get(peer)! - 1;
    if (count > 0) waiting.set(peer, count);
    else waiting.delete(peer);
  }
  server.prependListener('connection', (socket: WaitingSocket) => {
    const peer = peerOf(socket);
    const count = waiting.get(peer) ?? 0;
    if (count >= most) {
      socket.destroy();
      return;
    }
    waiting.set(peer, count + 1);
    socket[PEER] = peer;
    socket.on('close', leave);
  });
  server.prependListener('request', ({ socket }) => leave.call(socket));
  return server;
}
