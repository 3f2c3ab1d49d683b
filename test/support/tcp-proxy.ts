import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * A TCP proxy on 127.0.0.1 that can break connections in the ways networks do. `silent` is half-open: both sockets stay,
 * nothing is forwarded, and the silence lasts for the connections it caught even after `resume`.
 */
export class TcpProxy {
  #pairs = new Set<{ client: Socket; upstream: Socket; silent: boolean }>();
  /** Whose clients have given up: the server is not told. */
  #ghosts = new Set<Socket>();
  #mode: 'forward' | 'silent' | 'refuse' = 'forward';
  #server: Server | undefined;
  #port = 0;

  constructor(private readonly target: { host: string; port: number }) {}

  static async to(url: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(url);
    const proxy = new TcpProxy({ host: hostname, port: Number(port) });
    await proxy.#listen();
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  /** The same URL through the proxy. */
  through(url: string): string {
    const proxied = new URL(url);
    proxied.hostname = '127.0.0.1';
    proxied.port = String(this.#port);
    return proxied.href;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Present and new connections stay open and carry nothing. */
  goSilent(): void {
    this.#mode = 'silent';
    for (const pair of this.#pairs) pair.silent = true;
  }

  /** What the server sends stays there, as with a client that reads nothing for a while; `unpause` brings it. */
  pause(): void {
    for (const { upstream } of this.#pairs) upstream.pause();
  }

  unpause(): void {
    for (const { upstream } of this.#pairs) upstream.resume();
  }

  /** Silences one connection for good: the one that the server sees as coming from this port. */
  silence(clientPort: number): void {
    const pair = this.#pairOf(clientPort);
    if (!pair) throw new Error(`no connection from port ${clientPort} goes through this proxy`);
    pair.silent = true;
  }

  /** Whether the connection that the server sees as coming from this port goes through here, and is not silent. */
  carries(clientPort: number): boolean {
    return this.#pairOf(clientPort)?.silent === false;
  }

  #pairOf(clientPort: number) {
    return [...this.#pairs].find(({ upstream }) => upstream.localPort === clientPort);
  }

  /** New connections are refused; present ones go on. */
  async refuse(): Promise<void> {
    this.#mode = 'refuse';
    const server = this.#server;
    this.#server = undefined;
    // Its callback waits for the connections; that it no longer listens is true at once.
    server?.close();
  }

  /** Ends every present connection with a reset. */
  cut(): void {
    for (const { client, upstream } of this.#pairs) {
      client.resetAndDestroy();
      upstream.destroy();
    }
    for (const ghost of this.#ghosts) ghost.destroy();
    this.#ghosts.clear();
  }

  /** New connections are forwarded again; silent ones stay silent. */
  async resume(): Promise<void> {
    this.#mode = 'forward';
    if (!this.#server) await this.#listen();
  }

  async close(): Promise<void> {
    this.cut();
    const server = this.#server;
    this.#server = undefined;
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  async #listen(): Promise<void> {
    const server = createServer((client) => this.#onConnection(client));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as { port: number }).port;
  }

  #onConnection(client: Socket): void {
    const upstream = connect(this.target);
    const pair = { client, upstream, silent: this.#mode === 'silent' };
    this.#pairs.add(pair);
    const join = (from: Socket, to: Socket) => {
      from.on('data', (chunk) => {
        if (pair.silent) return;
        if (!to.write(chunk)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
      });
      from.on('error', () => {});
      from.on('close', () => {
        this.#pairs.delete(pair);
        if (!pair.silent) to.destroy();
        else if (from === client) this.#ghosts.add(upstream);
        else this.#ghosts.delete(upstream);
      });
      from.on('end', () => {
        if (!pair.silent) to.end();
      });
    };
    join(client, upstream);
    join(upstream, client);
  }
}
