import { connect } from 'node:net';
import type { PoolClient } from 'pg';
import { CONNECT_TIMEOUT_MS } from './options.js';

const CANCEL_REQUEST = 80_877_102;
const LENGTH = 16;

/** What the driver keeps of a session and its types do not show. */
interface Backend {
  host: string;
  port: number;
  processID: number | null;
  secretKey: number | null;
}

/**
 * Asks the server to end what this session is doing: on a connection of its own, as the protocol wants it (section 55.2.8),
 * without TLS and log-in. Nobody waits for it, and nobody is told whether it helped.
 */
export function cancelStatement(client: PoolClient): void {
  const { host, port, processID, secretKey } = client as unknown as Backend;
  if (processID === null || secretKey === null) return;
  const request = Buffer.alloc(LENGTH);
  request.writeInt32BE(LENGTH, 0);
  request.writeInt32BE(CANCEL_REQUEST, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
  socket.on('error', () => {});
  socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy());
  socket.unref();
  socket.end(request);
}
