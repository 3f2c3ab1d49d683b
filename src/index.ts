/** The API of `import 'lightcone'` (docs/embedding.md). The import itself only checks the version of Node.js. */
import type { LightconeServer, ServerOptions } from './app/embedding/server.js';
import { nodeVersionError } from './cli/node-version.js';

export type { Message, PublishedEvent } from './app/embedding/event-publisher.js';
export type { MountTarget } from './app/embedding/mount.js';
export type { LightconeServer, ServerOptions } from './app/embedding/server.js';
export type { EmbeddedSettings as Settings } from './config/sources.js';
export { type ErrorCode, LightconeError } from './core/errors.js';
export type { Authenticate, Caller } from './http/auth/application-authenticator.js';

const versionError = nodeVersionError();
if (versionError !== undefined) throw new Error(versionError);

/** @throws LightconeError CONFIG_INVALID; its message lists every invalid setting on a line of its own */
export async function createServer(options?: ServerOptions): Promise<LightconeServer> {
  const embedding = await import('./app/embedding/server.js');
  return embedding.createServer(options);
}
