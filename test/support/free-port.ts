import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that a kernel gives to whoever asks for none (Linux: from 32768, others: from 49152). */
const LOWEST = 10_000;
const COUNT = 22_000;

/**
 * A port of 127.0.0.1 that was free a moment ago: nobody answers there. Neither a connection nor a server that asks for
 * any port gets it by chance before it is used, or while the server that uses it restarts.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * COUNT);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
