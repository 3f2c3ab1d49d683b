/** What others met at Node's HTTP server, tried on what keeps count of its connections and answers. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, onTestFinished } from 'vitest';
import { WaitingConnections } from '../../src/http/waiting-connections.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

// nodejs/node#50656: an answer whose connection is gone before its end tells neither of an error nor that it is finished.
it('an answer that ends after its connection is held by nobody', async () => {
  let answer: WeakRef<object> | undefined;
  let hasEnded = false;
  const server = new WaitingConnections({ idle: 10, unreadSeconds: 600, unreadBytes: 1e9 }).limit(
    createServer((request, response) => {
      answer = new WeakRef(response);
      request.socket.destroy();
      setImmediate(() => {
        response.end('late');
        hasEnded = true;
      });
    }),
  );
  onTestFinished(() => void server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  socket.end('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await expect.poll(() => hasEnded).toBe(true);
  const isHeld = (): boolean => {
    collectGarbage();
    return answer!.deref() !== undefined;
  };
  await expect.poll(isHeld, { timeout: 5_000, interval: 200 }).toBe(false);
});
