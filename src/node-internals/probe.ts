/**
 * Only this room uses undocumented internals of Node.js. Everything in it is an optimization: if this version of Node
 * lacks something, or `node_internals` is false, the worker does the same without it, with more memory or CPU.
 */
import { type CreateDirectWrites, findDirectWrites } from './direct-writes.js';
import { findTakeOver, type TakeOver } from './take-over.js';

export interface NodeInternals {
  /** Undefined: a stream keeps Node's parser, request and response. */
  readonly takeOver: TakeOver | undefined;
  /** Undefined: sockets are written to as streams. */
  readonly createDirectWrites: CreateDirectWrites | undefined;
}

/** Probes this version of Node, once at the start. */
export function probeNodeInternals(wanted: boolean): NodeInternals {
  return {
    takeOver: wanted ? findTakeOver() : undefined,
    createDirectWrites: wanted ? findDirectWrites() : undefined,
  };
}
