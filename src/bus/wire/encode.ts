/** Encodes control tasks and ticks as message bodies (contract, sections 3.2 to 3.4, plus Lightcone's additions). */
import type { Task, Tick } from '../../core/events.js';
import { type JsonValue, pythonJson } from '../../events/python-json.js';
import { EVENTS, type EventRegistry } from '../../events/registry.js';
import { MAX_TICK_BYTES, signatureOf } from './tick-signature.js';

/**
 * @param noop the name of the process that must not run the task
 * @returns the body: one JSON object in ASCII
 * @throws Error for a task of an unknown kind
 */
export function encodeTask<T extends Task>(task: T, noop?: string, kinds: EventRegistry = EVENTS): Buffer {
  const kind = kinds.ofTask(task.task);
  if (kind === undefined) throw new Error(`no kind of event is carried by the task ${task.task}`);
  const envelope = new Map<string, JsonValue>([
    ['task', task.task],
    ['kwargs', kind.task.write(task)],
  ]);
  if (noop !== undefined) envelope.set('noop', noop);
  return Buffer.from(pythonJson(envelope), 'latin1');
}

/**
 * A tick is Lightcone's own message: plain JSON, `until` in microseconds.
 *
 * @param updates how many `history_update`s went ahead of it on its channel since the tick before
 */
export function encodeTick(
  { leader, sequence, until, position }: Tick,
  secret: string,
  updates?: number,
): Buffer {
  const tick = { leader, sequence, until, ...(fits(position) && { position }) };
  return Buffer.from(JSON.stringify({ ...tick, updates, signature: signatureOf(tick, updates, secret) }));
}

/** A position with thousands of open transactions is too long for a tick. Workers then keep the previous one. */
const fits = (position: string | undefined): position is string =>
  position !== undefined && position.length <= MAX_TICK_BYTES / 2;
