import { stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { LightconeError } from '../../core/errors.js';

/**
 * Removes a unix socket that a process left behind when it was killed, so that its successor can listen there. One that
 * somebody still answers is left alone: listening then fails with EADDRINUSE, as it should.
 *
 * @throws LightconeError CONFIG_INVALID when the path names something that is not a socket: that is somebody's file
 */
export async function removeStaleSocket(path: string): Promise<void> {
  // Checked first, because connecting to a file fails in the same way as to an abandoned socket.
  const there = await stat(path).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new LightconeError(
      'CONFIG_INVALID',
      `cannot listen on unix:${path}: the file there is not a socket; move it away, or choose another path with --listen`,
    );
  }
  const code = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (code === 'ECONNREFUSED') await unlink(path);
}
