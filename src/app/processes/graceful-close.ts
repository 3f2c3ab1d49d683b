import { once } from 'node:events';
import { Server } from 'node:net';
import type { App } from '../../http/app.js';

/** Closes the HTTP server of a worker. A request that is on its way or being answered does not fail. */
export class GracefulClose {
  #ended: Promise<unknown> | undefined;

  constructor(private readonly app: App) {}

  /** New connections go to the other listeners on this socket; open ones end with their next answer. */
  handOver(): void {
    const { server } = this.app;
    this.#ended = once(server, 'close');
    server.prependListener('request', (_request, response) => response.setHeader('Connection', 'close'));
    // The `close` of an HTTP server cuts idle connections, on which a request may be on its way (nodejs/node#60617).
    Server.prototype.close.call(server);
  }

  /** @param momentMs maximum delay of the stop by a stalled connection */
  async close(momentMs: number): Promise<void> {
    const end = setTimeout(() => this.app.server.closeAllConnections(), momentMs);
    try {
      await this.app.close();
      // Fastify does not wait for requests after the server has stopped listening.
      await this.#ended;
    } finally {
      clearTimeout(end);
    }
  }
}
