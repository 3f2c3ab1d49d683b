/** In front of a server: counts its streams, notes from where each one resumes, and can be away or answer in its place. */
import {
  createServer,
  type IncomingMessage,
  request as requestOf,
  type Server,
  type ServerResponse,
} from 'node:http';
import { freePort } from './free-port.js';

/** A page of the same origin with nothing in it. */
const BLANK = '/blank';

interface SeenStream {
  /** Undefined where it begins now. */
  readonly lastEventId: string | undefined;
  /** The newest `id:` that went to the client. */
  sentId: string | undefined;
  open: boolean;
}

export class StreamProxy {
  /** In the order of their opening. */
  readonly streams: SeenStream[] = [];
  /** Paths with their queries, of everything that was asked. */
  readonly asked: string[] = [];
  /** The longest time that more than one stream was open, until now. */
  longestOverlapMs = 0;
  /** Answers in place of the server, where it returns true. */
  answer: (path: string, response: ServerResponse) => boolean = () => false;
  #overlapSince: number | undefined;
  #server: Server | undefined;

  private constructor(
    public target: string,
    readonly port: number,
  ) {}

  static async to(target: string): Promise<StreamProxy> {
    const proxy = new StreamProxy(target, await freePort());
    await proxy.start();
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get blankPage(): string {
    return this.url + BLANK;
  }

  get open(): number {
    return this.streams.filter((stream) => stream.open).length;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => this.#forward(request, response));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
  }

  /** Nobody listens any more, and what was open is cut. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url!;
    this.asked.push(path);
    if (path === BLANK) {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>a tab</title>');
      return;
    }
    if (this.answer(path, response)) return;
    const upstream = requestOf(this.target + path, { method: request.method, headers: request.headers });
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      if (answer.headers['content-type']?.startsWith('text/event-stream')) {
        this.#count(request, answer, response);
      }
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  }

  #count(request: IncomingMessage, answer: IncomingMessage, response: ServerResponse): void {
    const { searchParams } = new URL(request.url!, this.url);
    const lastEventId = request.headers['last-event-id'] ?? searchParams.get('last_event_id') ?? undefined;
    const stream: SeenStream = { lastEventId: lastEventId?.toString(), sentId: undefined, open: true };
    this.streams.push(stream);
    this.#look();
    answer.on('data', (chunk: Buffer) => {
      stream.sentId = [...chunk.toString().matchAll(/^id: ?(.*)$/gm)].at(-1)?.[1] ?? stream.sentId;
    });
    response.on('close', () => {
      stream.open = false;
      this.#look();
    });
  }

  #look(): void {
    const now = performance.now();
    if (this.#overlapSince !== undefined)
      this.longestOverlapMs = Math.max(this.longestOverlapMs, now - this.#overlapSince);
    if (this.open < 2) this.#overlapSince = undefined;
    else this.#overlapSince ??= now;
  }
}
