/**
 * Decodes message bodies into control tasks and ticks. Any account of the broker may publish, so nothing here trusts a
 * type, and nothing throws. The checks are hand-written for speed: every worker decodes every task of the installation.
 */
import type { Task, Tick } from '../../core/events.js';
import { FieldError, id, isAbsent, isRecord, type JsonObject, shortText, text } from '../../events/fields.js';
import { EVENTS, type EventRegistry } from '../../events/registry.js';
import { hasSignature, MAX_TICK_BYTES } from './tick-signature.js';

export type DecodeFailure = 'not_json' | 'not_object' | 'unknown_task' | 'malformed' | 'foreign';

export type DecodedTask =
  /** `noop`: the name of the process that must not run the task. */
  | { ok: true; task: Task; noop?: string }
  /**
   * `detail` names the field and never quotes the message. `foreign`: one of Galaxy's other tasks, which is not an
   * error.
   */
  | { ok: false; reason: DecodeFailure; detail: string };

/** A history_update for 100,000 users has 2 MiB. A much larger message is not a control task. */
export const MAX_BODY_BYTES = 8 * 1024 * 1024;

/** A task has five levels. V8 needs half a second for 5 MB of `[`; small bodies need no check. */
const DEEPEST = 32;
const SMALL_BYTES = 64 * 1024;

/** Galaxy's other tasks on the same exchange (contract, section 3.3), and `chat_event` of a fork. */
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

export function decodeTask(body: Buffer, kinds: EventRegistry = EVENTS): DecodedTask {
  if (body.length > MAX_BODY_BYTES) return failure('malformed', `a body of ${body.length} bytes`);
  if (body.length > SMALL_BYTES && isDeep(body)) {
    return failure('malformed', `a body with more than ${DEEPEST} levels`);
  }
  const envelope = parse(body);
  if (envelope === undefined) return failure('not_json', `a body of ${body.length} bytes that is not JSON`);
  if (!isRecord(envelope)) return failure('not_object', 'the body is JSON, but not an object');
  try {
    return decodeEnvelope(envelope, kinds);
  } catch (error) {
    if (error instanceof FieldError) return failure('malformed', error.message);
    throw error;
  }
}

function decodeEnvelope(envelope: JsonObject, kinds: EventRegistry): DecodedTask {
  const name = envelope.task;
  if (FOREIGN_TASKS.has(name)) return failure('foreign', String(name));
  if (typeof name !== 'string') throw new FieldError('task is missing or not a string');
  const kwargs = isAbsent(envelope.kwargs) ? {} : envelope.kwargs;
  if (!isRecord(kwargs)) throw new FieldError('kwargs is not an object');
  const task = kinds.ofTask(name)?.task.read(kwargs);
  if (!task) return failure('unknown_task', 'unknown task, which neither Galaxy nor Lightcone sends');
  if (isAbsent(envelope.noop)) return { ok: true, task };
  return { ok: true, task, noop: text('noop', envelope.noop) };
}

export type DecodedTick =
  /** `updates`: how many `history_update`s its leader published since the tick before. */
  | { ok: true; tick: Tick; updates?: number }
  | { ok: false; reason: 'malformed_tick' | 'forged_tick'; detail: string };

/**
 * @param secret of the installation. A tick confirms everything published before it, so only its processes may send
 * one.
 */
export function decodeTick(body: Buffer, secret: string): DecodedTick {
  const malformed = (detail: string): DecodedTick => ({ ok: false, reason: 'malformed_tick', detail });
  if (body.length > MAX_TICK_BYTES) return malformed(`a tick of ${body.length} bytes`);
  const value = parse(body);
  if (!isRecord(value)) return malformed('a tick that is not a JSON object');
  try {
    const updates = isAbsent(value.updates) ? undefined : count('updates', value.updates);
    const tick: Tick = {
      leader: shortText('leader', value.leader),
      sequence: count('sequence', value.sequence),
      until: id('until', value.until),
      ...(!isAbsent(value.position) && { position: text('position', value.position) }),
    };
    if (hasSignature(tick, updates, value.signature, secret)) {
      return { ok: true, tick, ...(updates !== undefined && { updates }) };
    }
    const detail = `a tick in the name of ${tick.leader} is not signed with the id_secret of this process: all processes need the same one`;
    return { ok: false, reason: 'forged_tick', detail };
  } catch (error) {
    if (error instanceof FieldError) return malformed(error.message);
    throw error;
  }
}

const count = (name: string, value: unknown): number => (value === 0 ? 0 : id(name, value));

/** Whether lists and objects are nested deeper than in any task. Counts only brackets outside strings. */
function isDeep(body: Buffer): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < body.length; i += 1) {
    const byte = body[i];
    if (inString) {
      if (byte === BACKSLASH) i += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      depth += 1;
      if (depth > DEEPEST) return true;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth -= 1;
  }
  return false;
}

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

const failure = (reason: DecodeFailure, detail: string): DecodedTask => ({ ok: false, reason, detail });
