/** What `import 'lightcone'` gives (docs/embedding.md). It does nothing but look at the version of Node.js. */
import type { LightconeServer, ServerOptions } from './app/embedding/server.js';
import { nodeComplaint } from './cli/node-version.js';

export type { Message, PublishedEvent } from './app/embedding/event-publisher.js';
export type { MountTarget } from './app/embedding/mount.js';
export type { LightconeServer, ServerOptions } from './app/embedding/server.js';
export type { EmbeddedSettings as Settings } from './config/sources.js';
export { type ErrorCode, LightconeError } from './core/errors.js';
export type { Authenticate, Caller } from './http/auth/application-authenticator.js';

const complaint = nodeComplaint();
if (complaint !== undefined) throw new Error(complaint);

/** @throws LightconeError CONFIG_INVALID with every mistake, one a line */
export async function createServer(options?: ServerOptions): Promise<LightconeServer> {
  const embedding = await import('./app/embedding/server.js');
  return embedding.createServer(options);
}
