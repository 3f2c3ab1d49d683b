/** Writes that return their mark in the log, so that a client can wait until its screen includes them. */
import type { FastifyReply } from 'fastify';
import type { Database, Sql, WriteMark, WriteMarks } from '../database/port.js';

export interface Written<Value> {
  value: Value;
  /** Undefined while the log changes. */
  mark: WriteMark | undefined;
}

/** One transaction. */
export async function write<Value>(
  db: Database,
  marks: WriteMarks,
  work: (tx: Sql) => Promise<Value>,
): Promise<Written<Value>> {
  const mark = await marks.marker();
  return db.transaction(async (tx) => ({ value: await work(tx), mark: await mark(tx) }));
}

/** Sets the header. @returns the written value */
export function marked<Value>(reply: FastifyReply, { value, mark }: Written<Value>): Value {
  if (mark !== undefined) reply.header('x-write-mark', mark);
  return value;
}
