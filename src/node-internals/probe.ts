/**
 * This room alone leans on what Node promises nobody. Everything in it is a shortcut: where this Node lacks something, or
 * `node_internals: false` says so, the same is done without, only with more memory or CPU.
 */
import { type CreateDirectWrites, findDirectWrites } from './direct-writes.js';
import { findTakeOver, type TakeOver } from './take-over.js';

export interface NodeInternals {
  /** Undefined: a stream keeps Node's parser, request and response. */
  readonly takeOver: TakeOver | undefined;
  /** Undefined: sockets are written to as streams. */
  readonly createDirectWrites: CreateDirectWrites | undefined;
}

/** Looks once, at the start, for what this Node has. */
export function probeNodeInternals(wanted: boolean): NodeInternals {
  return {
    takeOver: wanted ? findTakeOver() : undefined,
    createDirectWrites: wanted ? findDirectWrites() : undefined,
  };
}
