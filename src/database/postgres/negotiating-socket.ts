import { connect, isIP, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = 0x53; // S
const NO = 0x4e; // N
const ERROR = 0x45; // E
/** The SQLSTATE with which a server refuses this type of connection (`pg_hba.conf`: hostssl, hostnossl). */
const NOT_THIS_WAY = 'C28000\0';

/** `allow`: plain unless the server insists on TLS; `prefer`: TLS unless the server refuses it; `require`: TLS only. */
export type TlsWish = 'allow' | 'prefer' | 'require';

/**
 * A connection to PostgreSQL that negotiates TLS as libpq does, before the driver sends anything, and retries in the
 * other mode if the server refuses the first. The driver treats it as a plain socket.
 */
export class NegotiatingSocket extends Duplex {
  #inner: Duplex | undefined;
  #raw: Socket | undefined;
  #target: [port: number | string, host: string] | undefined;
  #encrypt: boolean;
  #otherWayOpen: boolean;
  /** The driver's data before the server's first answer, for the second connection. */
  #said: Buffer[] | undefined = [];
  #connected = false;
  #keepAlive: [on: boolean, delayMs: number] = [false, 0];

  constructor(
    wish: TlsWish,
    private readonly tls: () => ConnectionOptions,
  ) {
    super();
    this.#encrypt = wish !== 'allow';
    this.#otherWayOpen = wish !== 'require';
  }

  connect(port: number | string, host = 'localhost'): this {
    this.#target = [port, host];
    this.#open();
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(on: boolean, delayMs: number): this {
    this.#keepAlive = [on, delayMs];
    this.#raw?.setKeepAlive(on, delayMs);
    return this;
  }

  ref(): this {
    this.#raw?.ref();
    return this;
  }

  unref(): this {
    this.#raw?.unref();
    return this;
  }

  #open(): void {
    const [port, host] = this.#target!;
    const raw = connect({ port: Number(port), host, noDelay: true });
    this.#raw = raw;
    raw.on('error', (error) => this.#raw === raw && this.destroy(error));
    raw.on('close', () => this.#raw === raw && this.destroy());
    raw.once('connect', () => {
      raw.setKeepAlive(...this.#keepAlive);
      if (this.#encrypt) this.#askForTls(raw, host);
      else this.#use(raw);
    });
  }

  #askForTls(raw: Socket, host: string): void {
    raw.write(SSL_REQUEST);
    raw.once('data', (answer: Buffer) => {
      raw.pause();
      if (answer[0] === YES && answer.length === 1) {
        const secure = connectTls({
          socket: raw,
          ...(isIP(host) ? {} : { servername: host }),
          host,
          ...this.tls(),
        });
        secure.on('error', (error) => this.destroy(error));
        secure.once('secureConnect', () => this.#use(secure));
      } else if (answer[0] === NO && answer.length === 1 && this.#otherWayOpen) {
        this.#encrypt = false;
        this.#otherWayOpen = false;
        this.#use(raw);
      } else {
        this.destroy(
          new Error(
            answer[0] === NO
              ? 'the server does not support SSL, but sslmode requires it'
              : 'the server did not understand the TLS request',
          ),
        );
      }
    });
  }

  #use(inner: Duplex): void {
    this.#inner = inner;
    inner.on('data', (chunk: Buffer) => this.#receive(chunk, inner));
    inner.on('end', () => this.#inner === inner && this.push(null));
    if (!this.#connected) {
      this.#connected = true;
      this.emit('connect');
    } else {
      for (const chunk of this.#said ?? []) inner.write(chunk);
    }
    inner.resume();
  }

  #receive(chunk: Buffer, inner: Duplex): void {
    if (this.#inner !== inner) return;
    if (this.#said && this.#otherWayOpen && chunk[0] === ERROR && chunk.includes(NOT_THIS_WAY)) {
      this.#otherWay();
      return;
    }
    this.#said = undefined;
    if (!this.push(chunk)) inner.pause();
  }

  #otherWay(): void {
    const old = this.#raw;
    this.#encrypt = !this.#encrypt;
    this.#otherWayOpen = false;
    this.#inner = undefined;
    this.#open();
    old?.destroy();
  }

  override _read(): void {
    this.#inner?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#said?.push(chunk);
    if (this.#inner) this.#inner.write(chunk, done);
    else done();
  }

  override _final(done: () => void): void {
    if (this.#inner) this.#inner.end(done);
    else done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#inner?.destroy();
    this.#raw?.destroy();
    done(error);
  }
}
