/** Turns an accepted request for the stream into a tab and passes its socket to the connection manager. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionManager } from '../../connections/manager.js';
import type { CloseReason, OpenRequest } from '../../connections/tabs/open-tabs.js';
import type { Tab } from '../../connections/tabs/tab.js';
import { LIMITS } from '../../core/limits.js';
import type { TakeOver } from '../../node-internals/take-over.js';
import { forgetRequests } from '../broken-requests.js';

type Caller = Pick<OpenRequest, 'principal' | 'since' | 'viewed' | 'address' | 'from'>;
export type AnswerHeaders = Readonly<Record<string, number | string | string[] | undefined>>;

export const STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache',
  'X-Accel-Buffering': 'no',
};

const HEAD = `HTTP/1.1 200 OK\r\n${Object.entries(STREAM_HEADERS)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n`;

/** A property of a socket or response for its tab, so that its listeners need no closure. */
const TAB = Symbol('tab');
const ASKED = Symbol('bytes that had been read of the connection when it became a stream');
type Output = (Socket | ServerResponse) & { [TAB]?: Tab };
type StreamSocket = Socket & { [ASKED]?: number };

/** Whether the connection carries a stream that stayed with the HTTP server; other requests on it get no answer. */
export function isStream(socket: Socket): boolean {
  const isOne = (socket as StreamSocket)[ASKED] !== undefined;
  if (isOne) onSaid.call(socket);
  return isOne;
}

export class StreamOpener {
  private date = '';
  private dateSecond = 0;
  // One set of listeners for all tabs.
  private readonly onDrain: (this: Output) => void;
  private readonly onClose: (this: Output) => void;
  private readonly onError: (this: Output) => void;

  constructor(
    private readonly manager: ConnectionManager,
    private readonly takeOver: TakeOver | undefined,
  ) {
    const gone = (output: Output, reason: CloseReason): void => {
      if (output[TAB] !== undefined) manager.onClosed(output[TAB], reason);
    };
    this.onDrain = function () {
      if (this[TAB] !== undefined) manager.onWritable(this[TAB]);
    };
    this.onClose = function () {
      // A response does not emit errors of its connection.
      const { errored } = 'req' in this ? this.req.socket : this;
      gone(this, errored ? 'error' : 'client');
    };
    this.onError = function () {
      gone(this, 'error');
      this.destroy();
    };
  }

  /**
   * Writes head and first bytes. The response must be first in line on its connection, and nothing else may use it.
   * Call it with nothing of Node's HTTP on the stack (`TakeOver`).
   * @param headers of this answer, beside those of every stream
   */
  open(request: IncomingMessage, response: ServerResponse, caller: Caller, headers: AnswerHeaders): void {
    const socket = this.takeOver?.(request, response);
    if (socket === undefined) {
      (request.socket as StreamSocket)[ASKED] = request.socket.bytesRead;
      response.on('close', onOver);
      response.writeHead(200, { ...headers, ...STREAM_HEADERS });
      this.attach(response, this.manager.open({ out: response, chunked: false, head: '', ...caller }));
    } else {
      forgetRequests(socket);
      const head = this.headText(headers);
      this.attach(socket, this.manager.open({ out: socket, chunked: true, head, ...caller }));
      (socket as StreamSocket)[ASKED] = socket.bytesRead;
      socket.on('data', onSaid);
    }
  }

  /** The head as bytes, for a detached socket. */
  private headText(headers: AnswerHeaders): string {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.dateSecond) {
      this.dateSecond = second;
      this.date = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
    }
    let head = HEAD + this.date;
    for (const name in headers) {
      for (const value of [headers[name]].flat()) if (value !== undefined) head += `${name}: ${value}\r\n`;
    }
    return `${head}\r\n`;
  }

  private attach(output: Output, tab: Tab): void {
    output[TAB] = tab;
    output.on('drain', this.onDrain).on('close', this.onClose).on('error', this.onError).on('end', onEnd);
    // It may have closed during the first write, before the listeners existed.
    if (output.destroyed) this.manager.onClosed(tab, 'client');
  }
}

/** Data from a client on an open stream is read and discarded, so that its end is noticed. */
function onSaid(this: StreamSocket): void {
  if (this.bytesRead - this[ASKED]! > LIMITS.saidBytes.value) this.destroy();
}

/** The connection accepts requests again, unless one on it waits for an answer that will not come. */
function onOver(this: ServerResponse): void {
  const socket = this.req.socket as StreamSocket;
  if (socket.bytesRead > socket[ASKED]!) socket.destroy();
  else delete socket[ASKED];
}

/** A client that ends its side of the connection needs nothing more. */
function onEnd(this: Output): void {
  this.destroy();
}
