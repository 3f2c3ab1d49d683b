/** Mounts Lightcone on the HTTP server of another program. */
import { type IncomingMessage, Server, type ServerResponse } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import { LightconeError } from '../../core/errors.js';

type NodeServer = Server | HttpsServer;

/** A server of Node.js, or an object with one as `server`, such as a Fastify instance. */
export type MountTarget = NodeServer | { readonly server: unknown };

export interface Mount {
  /** Gives the requests back to the program. */
  remove(): void;
}

interface MountOptions {
  handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** The program closes its server, which would wait for our streams. */
  onClose: () => void;
}

/** The mounted prefixes of a server, shared by all copies of this module. */
const MOUNTED = Symbol.for('lightcone.mounted');
type Mounted = NodeServer & { [MOUNTED]?: Set<string> };

/** @throws LightconeError CONFIG_INVALID */
export function serverOf(target: MountTarget): NodeServer {
  const server = isServer(target) ? target : target?.server;
  if (isServer(server)) return server;
  throw wrong('takes a server of node:http or node:https, or an object that holds one as `server`');
}

const isServer = (value: unknown): value is NodeServer =>
  value instanceof Server || value instanceof HttpsServer;

/**
 * Sees requests before any listener does, so the order in which listeners are added does not matter.
 * @throws LightconeError CONFIG_INVALID
 */
export function mountOn(server: NodeServer, prefix: string, { handle, onClose }: MountOptions): Mount {
  const holder = server as Mounted;
  holder[MOUNTED] ??= new Set();
  const mounted = holder[MOUNTED];
  if (mounted.has(prefix)) throw wrong(`${prefix} of this server is already mounted`);
  mounted.add(prefix);

  const isOurs = ({ url = '' }: IncomingMessage): boolean =>
    url.startsWith(prefix) && (url.length === prefix.length || /[/?]/.test(url[prefix.length]!));
  let isMounted = true;
  const restoreEmit = wrap(server, 'emit', (emit) => (event: string, ...args: unknown[]) => {
    const [request, response] = args as [IncomingMessage, ServerResponse];
    if (event !== 'request' || !isMounted || !isOurs(request)) return emit(event, ...args);
    handle(request, response);
    return true;
  });
  const restoreClose = wrap(server, 'close', (close) => (...args: unknown[]) => {
    if (isMounted) onClose();
    return close(...args);
  });
  return {
    remove: () => {
      isMounted = false;
      mounted.delete(prefix);
      restoreClose();
      restoreEmit();
    },
  };
}

type Method = (...args: never[]) => unknown;

/** @returns a function that unwraps it. If others have wrapped it since, it only stops intercepting */
function wrap(
  server: NodeServer,
  name: 'emit' | 'close',
  around: (inner: (...args: unknown[]) => unknown) => Method,
): () => void {
  const holder = server as unknown as Record<string, Method>;
  const hadOwn = Object.hasOwn(server, name);
  const inner = holder[name]!;
  const outer = around((...args) => inner.apply(server, args as never[]));
  holder[name] = outer;
  return () => {
    if (holder[name] !== outer) return;
    if (hadOwn) holder[name] = inner;
    else delete holder[name];
  };
}

const wrong = (what: string): LightconeError => new LightconeError('CONFIG_INVALID', `mount: ${what}`);
