/**
 * Looks at the first packet of each connection before Node's HTTP server does. After a restart streams are asked for by the
 * ten thousand, and most of what one costs is the server's parser, request and response (figures in docs/performance.md).
 *
 * What is read here is so narrow that it cannot be read in two ways: one whole head of a plain GET for one path, in ASCII,
 * each header once, nothing behind it. Every other connection is the HTTP server's from its first byte on.
 */
import type { IncomingHttpHeaders, Server } from 'node:http';
import type { Socket } from 'node:net';

/** @returns false to leave the connection to the HTTP server */
export type AnswerFirst = (headers: IncomingHttpHeaders, socket: Socket) => boolean;

/** Half of what Node's parser accepts. */
const LONGEST_HEAD = 8192;
const HEADERS = /^(?:[A-Za-z0-9-]+:[\x20-\x7e]*\r\n)+\r\n$/;
/** They announce a body, another protocol, or more to agree on. */
const NOT_PLAIN = ['content-length', 'transfer-encoding', 'upgrade', 'expect'];

type ConnectionListener = (this: Server, socket: Socket) => void;

export class FirstRequests {
  /** Connections that have not said anything yet, and those among them that had not at the last sweep. */
  private silent = new Set<Socket>();
  private silentBefore = new Set<Socket>();
  private readonly sweeper: NodeJS.Timeout;
  private readonly serve: ConnectionListener[];

  /**
   * @param path as it stands in the request line
   * @param silenceMs a connection that says nothing for so long, or twice as long, is closed
   */
  constructor(
    private readonly server: Server,
    path: string,
    silenceMs: number,
    answer: AnswerFirst,
  ) {
    const requestLine = `GET ${path} HTTP/1.1\r\n`;
    const serve = server.listeners('connection') as ConnectionListener[];
    this.serve = serve;
    const speaks = (socket: Socket): boolean =>
      this.silent.delete(socket) || this.silentBefore.delete(socket);
    // One set of listeners for all connections; a stream keeps them, because taking them off costs more.
    function onData(this: Socket, packet: Buffer): void {
      // What a client says on an open stream is read and forgotten.
      if (!speaks(this)) return;
      const headers = readHead(packet, requestLine);
      if (headers !== undefined && answer(headers, this)) return;
      this.removeListener('data', onData).removeListener('end', onEnd).removeListener('error', onEnd);
      this.pause();
      for (const listener of serve) listener.call(server, this);
      this.unshift(packet);
      this.resume();
    }
    function onEnd(this: Socket): void {
      speaks(this);
      this.destroy();
    }
    server.removeAllListeners('connection').on('connection', (socket: Socket) => {
      this.silent.add(socket);
      socket.on('data', onData).on('end', onEnd).on('error', onEnd);
    });
    this.sweeper = setInterval(() => this.sweep(), silenceMs).unref();
  }

  /** To be called when the server closes: it would wait for the connections that have not said anything. */
  close(): void {
    this.server.removeAllListeners('connection');
    for (const listener of this.serve) this.server.on('connection', listener);
    clearInterval(this.sweeper);
    this.sweep();
    this.sweep();
  }

  private sweep(): void {
    for (const socket of this.silentBefore) socket.destroy();
    this.silentBefore = this.silent;
    this.silent = new Set();
  }
}

/** @returns undefined for anything but a whole, plain and unambiguous head with this request line */
export function readHead(packet: Buffer, requestLine: string): IncomingHttpHeaders | undefined {
  if (packet.length > LONGEST_HEAD) return undefined;
  const text = packet.toString('latin1');
  if (!text.startsWith(requestLine)) return undefined;
  const rest = text.slice(requestLine.length);
  if (!HEADERS.test(rest)) return undefined;
  const headers: IncomingHttpHeaders = {};
  for (let at = 0; at < rest.length - 2; ) {
    const colon = rest.indexOf(':', at);
    const end = rest.indexOf('\r\n', colon);
    const name = rest.slice(at, colon).toLowerCase();
    if (Object.hasOwn(headers, name)) return undefined;
    headers[name] = rest.slice(colon + 1, end).trim();
    at = end + 2;
  }
  if (headers.host === undefined || NOT_PLAIN.some((name) => Object.hasOwn(headers, name))) return undefined;
  return headers;
}
