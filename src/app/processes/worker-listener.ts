/** The listen address of a worker: opens, names, hands over and closes it. */
import { chmod } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import type { Config } from '../../config/config.js';
import type { App } from '../../http/app.js';
import { GracefulClose } from './graceful-close.js';
import { listenError } from './listen-error.js';
import { removeStaleSocket } from './stale-socket.js';

export class WorkerListener {
  listening = false;
  private readonly graceful: GracefulClose;
  private opening: Promise<void> | undefined;

  constructor(
    private readonly app: App,
    private readonly config: Config,
    /** Other processes listen on the same socket, which belongs to their parent. */
    private readonly supervised: boolean,
  ) {
    this.graceful = new GracefulClose(app);
  }

  /** A URL or a socket path. */
  get address(): string {
    const { listen } = this.config.http;
    if (listen.kind === 'unix') return `unix:${listen.path}`;
    const { port } = this.app.server.address() as AddressInfo;
    return `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${port}`;
  }

  /** @throws LightconeError for an unavailable address */
  listen(): Promise<void> {
    this.opening = this.open();
    return this.opening;
  }

  private async open(): Promise<void> {
    const { listen } = this.config.http;
    try {
      if (listen.kind === 'unix') {
        if (!this.supervised) await removeStaleSocket(listen.path);
        await this.app.listen({ path: listen.path });
        await chmod(listen.path, listen.mode);
      } else {
        await this.app.listen({ host: listen.host, port: listen.port, backlog: 4096 });
      }
      this.listening = true;
    } catch (error) {
      throw listenError(listen, '--listen', error);
    }
  }

  /** New connections go to the other listeners on this socket. */
  handOver(): void {
    this.graceful.handOver();
  }

  async close(): Promise<void> {
    // An address that is being taken cannot be given up.
    await this.opening?.catch(() => {});
    return this.graceful.close(this.config.sse.drainTimeoutSeconds * 100);
  }
}
