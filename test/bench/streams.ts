/** Many open streams of one process, read with as little work as possible: bytes are counted, not parsed. */
import { connect, type Socket } from 'node:net';
import { MARK, timesAt } from './payload.js';

/** So many connections are being opened at a time. */
const IN_FLIGHT = 256;

interface Stream {
  number: number;
  socket: Socket;
  events: number;
  ready: boolean;
}

export interface OpenOptions {
  port: number;
  count: number;
  /** Number of the first one. */
  first: number;
  /** `{i}` stands for the number. */
  path: string;
  header?: string;
  /** These read nothing after their first bytes. */
  stalled?: number;
}

export class Streams {
  readonly all: Stream[] = [];
  /** Events on streams that read. */
  delivered = 0;
  closed = 0;
  /** Milliseconds, one entry per event: from the publication, and from the receipt by the worker. */
  fromPublication: number[] | undefined;
  fromReceipt: number[] = [];
  /** @param stream number of the stream that had new events */
  onDelivered: (stream: number) => void = () => {};
  private readonly buffer = Buffer.alloc(64 * 1024);

  /** @param mark a byte that every event holds once, and nothing else in a stream */
  constructor(private readonly mark = MARK) {}

  /** @returns seconds until all have had their first bytes */
  async open(options: OpenOptions): Promise<number> {
    const begin = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (next < options.count) {
          const i = next;
          next += 1;
          await this.openOne(options, options.first + i, i < (options.stalled ?? 0));
        }
      }),
    );
    return (performance.now() - begin) / 1000;
  }

  private openOne({ port, path, header }: OpenOptions, i: number, stalled: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream: Stream = { number: i, socket: undefined as unknown as Socket, events: 0, ready: false };
      const onRead = (length: number): boolean => {
        if (!stream.ready) {
          const head = this.buffer.toString('latin1', 0, Math.min(length, 12));
          if (head !== 'HTTP/1.1 200') reject(new Error(`stream ${i}: ${head}`));
          stream.ready = true;
          if (stalled) stream.socket.pause();
          resolve();
        }
        if (!stalled) this.count(stream, length);
        return true;
      };
      stream.socket = connect({ host: '127.0.0.1', port, onread: { buffer: this.buffer, callback: onRead } });
      stream.socket.on('error', reject).on('close', () => {
        this.closed += 1;
      });
      stream.socket.write(
        `GET ${path.replace('{i}', String(i))} HTTP/1.1\r\nHost: bench\r\n${header ? `${header}\r\n` : ''}\r\n`,
      );
      this.all.push(stream);
    });
  }

  private count(stream: Stream, length: number): void {
    const { buffer, mark } = this;
    const at = this.fromPublication === undefined ? 0 : performance.timeOrigin + performance.now();
    let found = 0;
    for (let i = buffer.indexOf(mark); i >= 0 && i < length; i = buffer.indexOf(mark, i + 1)) {
      found += 1;
      if (at === 0) continue;
      const times = timesAt(buffer, i, length);
      if (times === undefined) continue;
      this.fromPublication!.push(at - times[0]);
      this.fromReceipt.push(at - times[1]);
    }
    if (found === 0) return;
    stream.events += found;
    this.delivered += found;
    this.onDelivered(stream.number);
  }

  /** By reset, so that no port is held for a minute. */
  close(): void {
    for (const { socket } of this.all.splice(0)) {
      socket.removeAllListeners('close');
      socket.resetAndDestroy();
    }
  }
}
