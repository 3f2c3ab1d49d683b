/** What `import 'lightcone'` gives (docs/embedding.md). */
export type { Message, PublishedEvent } from './app/embedding/event-publisher.js';
export {
  createServer,
  type LightconeServer,
  type MountTarget,
  type ServerOptions,
} from './app/embedding/server.js';
export type { EmbeddedSettings as Settings } from './config/sources.js';
export { type ErrorCode, LightconeError } from './core/errors.js';
export type { Authenticate, Caller } from './http/auth/application-authenticator.js';
