import { connect } from 'node:net';
import type { PoolClient } from 'pg';

const CANCEL_REQUEST = 80_877_102;
const LENGTH = 16;
/** The server closes the connection after it has forwarded the request. */
const LONGEST_WAIT_MS = 2_000;

/** Fields of the driver's session that its types do not declare. */
interface Backend {
  host: string;
  port: number;
  processID: number | null;
  secretKey: number | null;
}

/**
 * Asks the server to cancel the running statement of this session, on a connection of its own as the protocol demands
 * (section 55.2.8), without TLS and log-in. Await it before the session is closed: after that, a pooler no longer knows
 * whose statement it was.
 */
export function cancelStatement(client: PoolClient): Promise<void> {
  const { host, port, processID, secretKey } = client as unknown as Backend;
  if (processID === null || secretKey === null) return Promise.resolve();
  const request = Buffer.alloc(LENGTH);
  request.writeInt32BE(LENGTH, 0);
  request.writeInt32BE(CANCEL_REQUEST, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
  socket.on('error', () => {});
  socket.setTimeout(LONGEST_WAIT_MS, () => socket.destroy());
  // Not ended here, because a pooler takes the end for a client that has left.
  socket.write(request);
  return new Promise((resolve) => socket.once('close', () => resolve()));
}
