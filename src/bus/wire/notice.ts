/**
 * Notices as message bodies: `{"notice": "<JSON>", "at": <ms of the Unix epoch>, "signature": "<hex>"}`. The signature
 * covers the text itself, so nothing is parsed before it is verified, and the time, so a replayed notice is useless.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  COUNTERS,
  GAUGES,
  LONGEST_PROBLEM,
  MOST_PROBLEMS,
  MOST_REFUSALS,
  MOST_STREAMS_A_PAGE,
  type Notice,
  type OpenStream,
  type Refusal,
  type StreamPlace,
  type StreamQuestion,
  TAB_STATES,
} from '../../core/notices.js';
import { FieldError, isAbsent, isRecord, type JsonObject, shortText, text } from '../../events/fields.js';
import { BUCKETS } from '../../telemetry/histogram.js';

export const MAX_NOTICE_BYTES = 64 * 1024;
/**
 * Longer than the life of a message plus the difference of clocks. `Cluster` remembers stopped processes for this time.
 */
const NOTICE_AGE_MS = 60_000;

export type DecodedNotice =
  | { ok: true; notice: Notice }
  | { ok: false; reason: 'malformed_notice' | 'forged_notice' | 'stale_notice'; detail: string };

/** @param at milliseconds of the Unix epoch */
export function encodeNotice(notice: Notice, secret: string, at: number): Buffer {
  const body = JSON.stringify(notice);
  return Buffer.from(JSON.stringify({ notice: body, at, signature: signatureOf(body, at, secret) }));
}

/**
 * @param secret of the installation. A notice can end a stream, and an administrator relies on it.
 * @param now milliseconds of the Unix epoch
 */
export function decodeNotice(body: Buffer, secret: string, now: number): DecodedNotice {
  const malformed = (detail: string): DecodedNotice => ({ ok: false, reason: 'malformed_notice', detail });
  if (body.length > MAX_NOTICE_BYTES) return malformed(`a notice of ${body.length} bytes`);
  const envelope = parse(body.toString('utf8'));
  if (!isRecord(envelope) || typeof envelope.notice !== 'string' || typeof envelope.at !== 'number') {
    return malformed('a notice that is not a JSON object with a text and a time in it');
  }
  const { at } = envelope;
  if (!hasSignature(envelope.notice, at, envelope.signature, secret)) {
    const detail =
      'a notice is not signed with the id_secret of this process: all processes need the same one';
    return { ok: false, reason: 'forged_notice', detail };
  }
  if (Math.abs(now - at) > NOTICE_AGE_MS) {
    const detail = `a notice was made ${Math.round((now - at) / 1000)} s ago: the clocks of two hosts differ by this much, or it was replayed`;
    return { ok: false, reason: 'stale_notice', detail };
  }
  const notice = parse(envelope.notice);
  if (!isRecord(notice)) return malformed('a notice that is not a JSON object');
  try {
    return { ok: true, notice: read(notice) };
  } catch (error) {
    if (error instanceof FieldError) return malformed(error.message);
    throw error;
  }
}

function read(value: JsonObject): Notice {
  switch (value.notice) {
    case 'process':
      return readProcess(value);
    case 'ask_streams':
      return {
        notice: 'ask_streams',
        question: shortText('question', value.question),
        streams: readQuestion(value.streams),
      };
    case 'streams':
      return {
        notice: 'streams',
        question: shortText('question', value.question),
        process: shortText('process', value.process),
        total: count('total', value.total),
        streams: list('streams', value.streams, MOST_STREAMS_A_PAGE, readStream),
      };
    case 'close_stream':
      return {
        notice: 'close_stream',
        process: shortText('process', value.process),
        id: count('id', value.id),
      };
    default:
      throw new FieldError('unknown notice, which Lightcone does not send');
  }
}

function readProcess(value: JsonObject): Notice {
  const { gauges, counters } = value;
  if (!isRecord(gauges) || !isRecord(counters)) throw new FieldError('gauges or counters is not an object');
  return {
    notice: 'process',
    name: shortText('name', value.name),
    host: shortText('host', value.host),
    pid: count('pid', value.pid),
    startedAt: count('startedAt', value.startedAt),
    sequence: count('sequence', value.sequence),
    role: oneOf('role', value.role, ['worker', 'monitor'] as const),
    version: shortText('version', value.version),
    leaving: value.leaving === true,
    ready: value.ready === true,
    problems: list('problems', value.problems, MOST_PROBLEMS, (it) =>
      text('problem', it).slice(0, LONGEST_PROBLEM),
    ),
    database: shortText('database', value.database),
    bus: shortText('bus', value.bus),
    leadingSeconds: amountOrNull('leadingSeconds', value.leadingSeconds),
    leader: isAbsent(value.leader) ? null : shortText('leader', value.leader),
    gauges: record(GAUGES, (key) => amountOrNull(key, gauges[key])),
    counters: record(COUNTERS, (key) => count(key, counters[key])),
    deliveries: list('deliveries', value.deliveries, BUCKETS, (it) => count('a delivery', it)),
    refusals: list('refusals', value.refusals, MOST_REFUSALS, readRefusal),
  };
}

const record = <Key extends string, Value>(keys: readonly Key[], of: (key: Key) => Value) =>
  Object.fromEntries(keys.map((key) => [key, of(key)])) as Record<Key, Value>;

function readRefusal(value: unknown): Refusal {
  if (!isRecord(value)) throw new FieldError('a refusal is not an object');
  return {
    at: count('at', value.at),
    reason: shortText('reason', value.reason),
    address: shortText('address', value.address),
  };
}

function readQuestion(value: unknown): StreamQuestion {
  if (!isRecord(value)) throw new FieldError('streams is not an object');
  const limit = count('limit', value.limit);
  if (limit > MOST_STREAMS_A_PAGE) throw new FieldError(`limit is more than ${MOST_STREAMS_A_PAGE}`);
  return {
    limit,
    ...(!isAbsent(value.userId) && { userId: count('userId', value.userId) }),
    ...(!isAbsent(value.address) && { address: shortText('address', value.address) }),
    ...(!isAbsent(value.state) && { state: oneOf('state', value.state, TAB_STATES) }),
    ...(!isAbsent(value.after) && { after: readPlace(value.after) }),
  };
}

function readPlace(value: unknown): StreamPlace {
  if (!isRecord(value)) throw new FieldError('after is not an object');
  return {
    openedAt: count('openedAt', value.openedAt),
    process: shortText('process', value.process),
    id: count('id', value.id),
  };
}

function readStream(value: unknown): OpenStream {
  if (!isRecord(value)) throw new FieldError('a stream is not an object');
  return {
    id: count('id', value.id),
    openedAt: count('openedAt', value.openedAt),
    userId: isAbsent(value.userId) ? null : count('userId', value.userId),
    address: shortText('address', value.address),
    state: oneOf('state', value.state, TAB_STATES),
    waiting: count('waiting', value.waiting),
  };
}

function count(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new FieldError(`${name} is not a whole number from 0`);
}

function amountOrNull(name: string, value: unknown): number | null {
  if (value === null) return null;
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw new FieldError(`${name} is neither a number from 0 nor null`);
}

function oneOf<T extends string>(name: string, value: unknown, known: readonly T[]): T {
  const found = known.find((it) => it === value);
  if (found === undefined) throw new FieldError(`${name} is none of ${known.join(', ')}`);
  return found;
}

function list<T>(name: string, value: unknown, most: number, entry: (value: unknown) => T): T[] {
  if (!Array.isArray(value) || value.length > most) {
    throw new FieldError(`${name} is not a list of at most ${most}`);
  }
  return value.map(entry);
}

const signatureOf = (body: string, at: number, secret: string): string =>
  createHmac('sha256', secret).update(`notice\n${at}\n`).update(body).digest('hex');

function hasSignature(body: string, at: number, signature: unknown, secret: string): boolean {
  if (typeof signature !== 'string') return false;
  const [given, right] = [Buffer.from(signature), Buffer.from(signatureOf(body, at, secret))];
  return given.length === right.length && timingSafeEqual(given, right);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
