import { unlink } from 'node:fs/promises';
import { connect } from 'node:net';

/**
 * Removes a unix socket that a process left behind when it was killed, so that its successor can listen there. One that
 * somebody still answers is left alone: listening then fails with EADDRINUSE, as it should.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const code = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (code === 'ECONNREFUSED') await unlink(path);
}
