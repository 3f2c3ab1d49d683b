/** Control tasks and ticks as message bodies (contract sections 3.2 to 3.4, and Lightcone's additions to them). */
import type { ControlTask, Tick } from '../core/events.js';
import { formatIso } from '../core/time.js';
import { type JsonValue, pythonJson } from './python-json.js';
import { signatureOf } from './tick-signature.js';

/**
 * @param noop server name of the process that must not run the task
 * @returns the body: one JSON object in ASCII
 */
export function encodeTask(task: ControlTask, noop?: string): Buffer {
  const envelope = new Map<string, JsonValue>([
    ['task', task.task],
    ['kwargs', kwargsOf(task)],
  ]);
  if (noop !== undefined) envelope.set('noop', noop);
  return Buffer.from(pythonJson(envelope), 'latin1');
}

/** Optional arguments are left out, as Galaxy leaves them out; Lightcone's own come last. */
function kwargsOf(task: ControlTask): ReadonlyMap<string, JsonValue> {
  const kwargs = new Map<string, JsonValue>();
  const addIfKnown = (name: string, value: JsonValue | undefined) => {
    if (value !== undefined) kwargs.set(name, value);
  };
  switch (task.task) {
    case 'history_update':
      kwargs.set('user_updates', task.userUpdates);
      addIfKnown('event_id', task.eventId);
      if (task.sessionUpdates.size > 0) kwargs.set('session_updates', task.sessionUpdates);
      if (task.updateTime !== undefined) kwargs.set('update_time', formatIso(task.updateTime));
      break;
    case 'notify_users':
      kwargs.set('user_ids', task.userIds);
      kwargs.set('payload', task.payload);
      addIfKnown('event_id', task.eventId);
      break;
    case 'notify_broadcast':
      kwargs.set('payload', task.payload);
      addIfKnown('event_id', task.eventId);
      break;
    case 'entry_point_update':
      addIfKnown('user_id', task.userId);
      addIfKnown('event_id', task.eventId);
      addIfKnown('session_id', task.sessionId);
      break;
    case 'subscribe_history_viewer':
    case 'unsubscribe_history_viewer':
      kwargs.set('history_id', task.historyId);
      addIfKnown('user_id', task.userId);
      addIfKnown('session_id', task.sessionId);
      break;
    case 'reconfigure_watcher':
      break;
  }
  return kwargs;
}

/** A tick is Lightcone's own message: plain JSON, `until` in microseconds. */
export function encodeTick({ leader, sequence, until }: Tick, secret: string): Buffer {
  const signature = signatureOf({ leader, sequence, until }, secret);
  return Buffer.from(JSON.stringify({ leader, sequence, until, signature }));
}
