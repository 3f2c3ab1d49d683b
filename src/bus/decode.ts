/**
 * Message bodies from the bus into control tasks and ticks. Anybody may write to the exchange, so nothing here trusts a
 * type, and nothing throws. Checks are written by hand: every worker decodes every task of the installation.
 */
import type {
  ControlTask,
  EntryPointUpdateTask,
  HistoryUpdateTask,
  NotifyBroadcastTask,
  NotifyUsersTask,
  Tick,
} from '../core/events.js';
import {
  absent,
  FieldError,
  id,
  idList,
  idMap,
  isRecord,
  type JsonObject,
  moment,
  optionalId,
  shortText,
  text,
} from './fields.js';
import { hasSignature } from './tick-signature.js';

export type DecodeFailure = 'not_json' | 'not_object' | 'unknown_task' | 'malformed' | 'foreign';

export type DecodedTask =
  /** `noop`: the server name of the process that must not run the task. */
  | { ok: true; task: ControlTask; noop?: string }
  /** `detail` names the field and never quotes the message. `foreign`: one of Galaxy's own tasks, which is no error. */
  | { ok: false; reason: DecodeFailure; detail: string };

/** A history_update for 100,000 users has 2 MiB; anything much larger is not a control task. */
export const MAX_BODY_BYTES = 8 * 1024 * 1024;

/** Galaxy's tasks that share the exchange and are none of ours (contract section 3.3), and a fork's `chat_event`. */
const FOREIGN_TASKS: ReadonlySet<unknown> = new Set([
  'create_panel_section',
  'reload_tool',
  'reload_toolbox',
  'reload_data_managers',
  'reload_display_application',
  'reload_tool_data_tables',
  'reload_job_rules',
  'admin_job_lock',
  'reload_sanitize_allowlist',
  'recalculate_user_disk_usage',
  'rebuild_toolbox_search_index',
  'reload_tour',
  'reload_core_config',
  'reload_tool_source_cache',
  'chat_event',
]);

export function decodeTask(body: Buffer): DecodedTask {
  if (body.length > MAX_BODY_BYTES) return failure('malformed', `a body of ${body.length} bytes`);
  const envelope = parse(body);
  if (envelope === undefined) return failure('not_json', `a body of ${body.length} bytes that is not JSON`);
  if (!isRecord(envelope)) return failure('not_object', 'the body is JSON, but not an object');
  try {
    return decodeEnvelope(envelope);
  } catch (error) {
    if (error instanceof FieldError) return failure('malformed', error.message);
    throw error;
  }
}

function decodeEnvelope(envelope: JsonObject): DecodedTask {
  const name = envelope.task;
  if (FOREIGN_TASKS.has(name)) return failure('foreign', String(name));
  if (typeof name !== 'string') throw new FieldError('task is missing or not a string');
  const kwargs = absent(envelope.kwargs) ? {} : envelope.kwargs;
  if (!isRecord(kwargs)) throw new FieldError('kwargs is not an object');
  const task = decodeKwargs(name, kwargs);
  if (!task) return failure('unknown_task', 'the task is none that Galaxy or Lightcone sends');
  if (absent(envelope.noop)) return { ok: true, task };
  return { ok: true, task, noop: text('noop', envelope.noop) };
}

function decodeKwargs(name: string, kwargs: JsonObject): ControlTask | undefined {
  switch (name) {
    case 'history_update':
      return withEventId(historyUpdate(kwargs), kwargs);
    case 'notify_users': {
      const userIds = idList('user_ids', kwargs.user_ids);
      return withEventId<NotifyUsersTask>({ task: name, userIds, payload: payload(kwargs) }, kwargs);
    }
    case 'notify_broadcast':
      return withEventId<NotifyBroadcastTask>({ task: name, payload: payload(kwargs) }, kwargs);
    case 'entry_point_update':
      return withEventId<EntryPointUpdateTask>({ task: name, ...somebody(kwargs) }, kwargs);
    case 'subscribe_history_viewer':
    case 'unsubscribe_history_viewer':
      return { task: name, historyId: encodedId(kwargs), ...somebody(kwargs) };
    case 'reconfigure_watcher':
      return { task: name };
    default:
      return undefined;
  }
}

/** Nearly all that a worker hears, and mostly of others' users: optional fields are set, since a spread costs more. */
function historyUpdate(kwargs: JsonObject): HistoryUpdateTask {
  const { user_updates, session_updates, update_time } = kwargs;
  if (absent(user_updates) && absent(session_updates)) {
    throw new FieldError('user_updates and session_updates are both missing');
  }
  const task: HistoryUpdateTask = {
    task: 'history_update',
    userUpdates: idMap('user_updates', user_updates),
    sessionUpdates: idMap('session_updates', session_updates),
  };
  if (!absent(update_time)) task.updateTime = moment('update_time', update_time);
  return task;
}

/** Missing, null and empty all mean that the event has no id. */
function withEventId<Task extends { eventId?: string }>(task: Task, { event_id }: JsonObject): Task {
  if (!absent(event_id) && event_id !== '') task.eventId = shortText('event_id', event_id);
  return task;
}

/** A missing payload counts as an empty object (contract section 3.4). */
const payload = (kwargs: JsonObject): string =>
  absent(kwargs.payload) ? '{}' : text('payload', kwargs.payload);

/** Who a task concerns: a user, a session or both; nobody is a mistake. */
function somebody(kwargs: JsonObject): { userId?: number; sessionId?: number } {
  const who = {
    ...optionalId('userId', 'user_id', kwargs.user_id),
    ...optionalId('sessionId', 'session_id', kwargs.session_id),
  };
  if (who.userId === undefined && who.sessionId === undefined) {
    throw new FieldError('user_id and session_id are both missing');
  }
  return who;
}

function encodedId(kwargs: JsonObject): string {
  const encoded = shortText('history_id', kwargs.history_id);
  if (!/^[0-9a-f]+$/.test(encoded)) throw new FieldError('history_id is not an encoded id');
  return encoded;
}

export type DecodedTick =
  | { ok: true; tick: Tick }
  | { ok: false; reason: 'malformed_tick' | 'forged_tick'; detail: string };

/** @param secret of the installation: a tick vouches for what was published before it, so not everybody may send one */
export function decodeTick(body: Buffer, secret: string): DecodedTick {
  const malformed = (detail: string): DecodedTick => ({ ok: false, reason: 'malformed_tick', detail });
  if (body.length > 4096) return malformed(`a tick of ${body.length} bytes`);
  const value = parse(body);
  if (!isRecord(value)) return malformed('a tick that is not a JSON object');
  try {
    const sequence = value.sequence;
    if (sequence !== 0) id('sequence', sequence);
    const tick: Tick = {
      leader: shortText('leader', value.leader),
      sequence: sequence as number,
      until: id('until', value.until),
    };
    if (hasSignature(tick, value.signature, secret)) return { ok: true, tick };
    const detail = `a tick in the name of ${tick.leader} is not signed with the id_secret of this process: all need the same one`;
    return { ok: false, reason: 'forged_tick', detail };
  } catch (error) {
    if (error instanceof FieldError) return malformed(error.message);
    throw error;
  }
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

const failure = (reason: DecodeFailure, detail: string): DecodedTask => ({ ok: false, reason, detail });
