import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeTask, decodeTick, encodeTask, encodeTick, MAX_BODY_BYTES } from '../../src/bus/wire/codec.js';
import type { ControlTask } from '../../src/core/events.js';

const decode = (body: unknown) =>
  decodeTask(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
const task = (name: string, kwargs: unknown) => decode({ task: name, kwargs });
const MOMENT = Date.UTC(2026, 6, 1, 12, 34, 56) * 1000;

describe('a control task on the wire', () => {
  it('is written byte for byte as Galaxy writes it', () => {
    const written = encodeTask({
      task: 'history_update',
      userUpdates: new Map([[7, [42, 43]]]),
      sessionUpdates: new Map(),
      eventId: '2026-07-01T12:34:56.789012',
    });
    expect(written.toString()).toBe(
      '{"task": "history_update", "kwargs": {"user_updates": {"7": [42, 43]}, "event_id": "2026-07-01T12:34:56.789012"}}',
    );
  });

  it('keeps the order of the arguments, adds the sessions, and puts our own argument last', () => {
    const written = encodeTask({
      task: 'history_update',
      userUpdates: new Map([
        [70, [42]],
        [7, [43]],
      ]),
      sessionUpdates: new Map([[901, [44]]]),
      eventId: 'e',
      updateTime: MOMENT + 5,
    });
    expect(written.toString()).toBe(
      '{"task": "history_update", "kwargs": {"user_updates": {"70": [42], "7": [43]}, "event_id": "e", ' +
        '"session_updates": {"901": [44]}, "update_time": "2026-07-01T12:34:56.000005"}}',
    );
  });

  it('is ASCII only, whatever the text holds', () => {
    const written = encodeTask({ task: 'notify_broadcast', payload: 'é\u007f\u2028😀"\\\n' });
    expect(written.toString('latin1')).toBe(
      '{"task": "notify_broadcast", "kwargs": {"payload": "\\u00e9\\u007f\\u2028\\ud83d\\ude00\\"\\\\\\n"}}',
    );
  });

  it('leaves out what is not known, and carries noop beside the arguments', () => {
    expect(
      encodeTask({ task: 'subscribe_history_viewer', historyId: 'f7bb1edd6b95db62', userId: 7 }).toString(),
    ).toBe(
      '{"task": "subscribe_history_viewer", "kwargs": {"history_id": "f7bb1edd6b95db62", "user_id": 7}}',
    );
    expect(encodeTask({ task: 'entry_point_update', userId: 7, sessionId: 9, eventId: 'e' }).toString()).toBe(
      '{"task": "entry_point_update", "kwargs": {"user_id": 7, "event_id": "e", "session_id": 9}}',
    );
    expect(encodeTask({ task: 'reconfigure_watcher' }, 'main.1').toString()).toBe(
      '{"task": "reconfigure_watcher", "kwargs": {}, "noop": "main.1"}',
    );
  });

  it('comes back as it was sent, for any task', () => {
    fc.assert(
      fc.property(anyTask(), (sent) => {
        expect(decodeTask(encodeTask(sent))).toEqual({ ok: true, task: sent });
      }),
    );
  });
});

describe('a body from anybody', () => {
  it('may be spelled in any JSON way and hold arguments that nobody knows', () => {
    const decoded = decode(
      '{"x":1,"kwargs":\n{"event_id":"e","y":[{}],"user_ids":[7]},"task":"notify_\\u0075sers"}',
    );
    expect(decoded).toEqual({
      ok: true,
      task: { task: 'notify_users', userIds: [7], payload: '{}', eventId: 'e' },
    });
  });

  it.each([[undefined], [null], ['']])('has no event id when it is %j', (eventId) => {
    expect(task('notify_broadcast', { payload: '{}', event_id: eventId })).toEqual({
      ok: true,
      task: { task: 'notify_broadcast', payload: '{}' },
    });
  });

  it('names the process that must not run it', () => {
    expect(decode({ task: 'reconfigure_watcher', noop: 'main.1' })).toEqual({
      ok: true,
      task: { task: 'reconfigure_watcher' },
      noop: 'main.1',
    });
  });

  it.each([
    ['', 'not_json'],
    ['{"task": "history_update"', 'not_json'],
    ['\u0000\u0001', 'not_json'],
    ['[]', 'not_object'],
    ['null', 'not_object'],
    ['"history_update"', 'not_object'],
    [{}, 'malformed'],
    [{ task: 3 }, 'malformed'],
    [{ task: 'notify_broadcast', kwargs: [] }, 'malformed'],
    [{ task: 'notify_broadcast', noop: 1 }, 'malformed'],
    [{ task: 'history_updates', kwargs: {} }, 'unknown_task'],
    [{ task: 'constructor', kwargs: {} }, 'unknown_task'],
    [{ task: '__proto__', kwargs: {} }, 'unknown_task'],
    [{ task: 'reload_toolbox', kwargs: { x: 1 } }, 'foreign'],
    [{ task: 'chat_event', kwargs: null }, 'foreign'],
  ])('%j is refused as %s', (body, reason) => {
    expect(decode(body)).toMatchObject({ ok: false, reason });
  });

  it.each([
    ['history_update', {}],
    ['history_update', { user_updates: [] }],
    ['history_update', { user_updates: { '7': 42 } }],
    ['history_update', { user_updates: { '7': ['42'] } }],
    ['history_update', { user_updates: { '7': [42], '07': [43] } }],
    ['history_update', { user_updates: { '1e3': [42] } }],
    ['history_update', { user_updates: { '-7': [42] } }],
    ['history_update', { user_updates: { '9007199254740993': [42] } }],
    ['history_update', { user_updates: { '7': [2 ** 53] } }],
    ['history_update', { user_updates: { '7': [42] }, session_updates: { x: [1] } }],
    ['history_update', { user_updates: { '7': [42] }, update_time: 'yesterday' }],
    ['history_update', { user_updates: { '7': [42] }, event_id: 5 }],
    ['notify_users', { payload: '{}' }],
    ['notify_users', { user_ids: 7 }],
    ['notify_users', { user_ids: [7.5] }],
    ['notify_users', { user_ids: [7], payload: {} }],
    ['notify_users', { user_ids: [7], event_id: 'a\nb' }],
    ['notify_users', { user_ids: [7], event_id: 'a\u0000' }],
    ['notify_users', { user_ids: [7], event_id: 'a'.repeat(201) }],
    ['entry_point_update', {}],
    ['entry_point_update', { user_id: true }],
    ['subscribe_history_viewer', { history_id: 42, user_id: 7 }],
    ['subscribe_history_viewer', { history_id: 'not hex', user_id: 7 }],
    ['subscribe_history_viewer', { history_id: 'f7bb1edd6b95db62' }],
  ])('%s with %j is malformed', (name, kwargs) => {
    expect(task(name, kwargs)).toMatchObject({ ok: false, reason: 'malformed' });
  });

  it('cannot reach the prototype of anything', () => {
    const body =
      '{"__proto__": {"task": "notify_broadcast"}, "task": "history_update", "kwargs": {"__proto__": {"polluted": 1}, "user_updates": {"7": [42]}}}';
    expect(decode(body)).toEqual({
      ok: true,
      task: { task: 'history_update', userUpdates: new Map([[7, [42]]]), sessionUpdates: new Map() },
    });
    expect(task('history_update', { user_updates: JSON.parse('{"__proto__": [1]}') })).toMatchObject({
      ok: false,
    });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('is refused unread when it is absurdly large', () => {
    expect(decodeTask(Buffer.alloc(MAX_BODY_BYTES + 1, 0x20))).toMatchObject({
      ok: false,
      reason: 'malformed',
    });
  });

  it('is refused unparsed when it is large and deeper than any task, whatever stands in its strings', () => {
    const brackets = '[{'.repeat(40_000);
    const payload = JSON.stringify({ note: `${brackets}\\"` });
    expect(task('notify_broadcast', { payload })).toMatchObject({ ok: true, task: { payload } });
    const deep = `{"task": "notify_broadcast", "kwargs": {"x": ${'['.repeat(40)}"${'y'.repeat(70_000)}"${']'.repeat(40)}}}`;
    expect(decodeTask(Buffer.from(deep))).toMatchObject({ ok: false, reason: 'malformed' });
  });

  it('is never quoted in the reason, which goes into the log', () => {
    const decoded = task('notify_users', { user_ids: ['secret'], payload: 'secret' });
    expect(JSON.stringify(decoded)).not.toContain('secret');
  });

  it('never makes decoding throw', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        decodeTask(Buffer.from(bytes));
        decodeTick(Buffer.from(bytes), 's');
      }),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...NAMES),
        fc.dictionary(fc.constantFrom(...FIELDS), fc.jsonValue()),
        (name, kwargs) => {
          task(name, kwargs);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('a tick on the wire', () => {
  it('comes back as it was sent', () => {
    const tick = { leader: 'main.1@2026', sequence: 0, until: MOMENT };
    expect(decodeTick(encodeTick(tick, 'secret'), 'secret')).toEqual({ ok: true, tick });
    expect(decodeTick(encodeTick(tick, 'secret', 0), 'secret')).toEqual({ ok: true, tick, updates: 0 });
  });

  it.each([
    ['[]'],
    ['{"leader": "a", "sequence": 1}'],
    ['{"leader": "a", "sequence": -1, "until": 5}'],
    ['{"leader": "a\\n", "sequence": 1, "until": 5}'],
    ['{"leader": "a", "sequence": "1", "until": 5}'],
    ['{"leader": "a", "sequence": 1, "until": 5, "updates": -1}'],
    ['x'],
  ])('%s is none', (body) => {
    expect(decodeTick(Buffer.from(body), 'secret')).toMatchObject({ ok: false, reason: 'malformed_tick' });
  });

  it.each([
    ['without a signature', { signature: undefined }],
    ['with a signature of another type', { signature: [] }],
    ['with an empty signature', { signature: '' }],
    ['with a later moment than was signed', { until: MOMENT + 1 }],
    ['with a higher number than was signed', { sequence: 8 }],
    ['with more updates than were signed', { updates: 4 }],
    ['in the name of another leader', { leader: 'b' }],
  ])('%s is forged', (_what, change) => {
    const signed = JSON.parse(encodeTick({ leader: 'a', sequence: 7, until: MOMENT }, 'secret').toString());
    const forged = decodeTick(Buffer.from(JSON.stringify({ ...signed, ...change })), 'secret');
    expect(forged).toMatchObject({ ok: false, reason: 'forged_tick' });
    expect(JSON.stringify(forged)).toContain('id_secret');
  });

  it('signed by an installation with another id_secret is forged', () => {
    const body = encodeTick({ leader: 'a', sequence: 7, until: MOMENT }, 'theirs');
    expect(decodeTick(body, 'ours')).toMatchObject({ ok: false, reason: 'forged_tick' });
  });
});

it('decoding a task costs a worker less than 15 microseconds', () => {
  const body = encodeTask({
    task: 'history_update',
    userUpdates: new Map([[123_456, [42_000_001, 42_000_002]]]),
    sessionUpdates: new Map(),
    eventId: '2026-07-01T12:34:56.789012',
    updateTime: MOMENT,
  });
  for (let i = 0; i < 20_000; i += 1) decodeTask(body);
  const startedAt = process.cpuUsage();
  for (let i = 0; i < 20_000; i += 1) decodeTask(body);
  const { user, system } = process.cpuUsage(startedAt);
  expect((user + system) / 20_000).toBeLessThan(15);
});

const NAMES = [
  'history_update',
  'notify_users',
  'notify_broadcast',
  'entry_point_update',
  'subscribe_history_viewer',
  'unsubscribe_history_viewer',
];
const FIELDS = [
  'user_updates',
  'session_updates',
  'update_time',
  'user_ids',
  'payload',
  'event_id',
  'user_id',
  'session_id',
  'history_id',
];

function anyTask(): fc.Arbitrary<ControlTask> {
  const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  const ids = fc.array(id, { minLength: 1, maxLength: 5 });
  const updates = fc.array(fc.tuple(id, ids), { maxLength: 4 }).map((entries) => new Map(entries));
  const eventId = fc.option(fc.stringMatching(/^[ -~é😀]{1,40}$/u), { nil: undefined }).map(known('eventId'));
  const userId = id.map((userId) => ({ userId }));
  const sessionId = fc.option(id, { nil: undefined }).map(known('sessionId'));
  const updateTime = fc
    .option(fc.integer({ min: 0, max: MOMENT * 2 }), { nil: undefined })
    .map(known('updateTime'));
  const merge = (...parts: fc.Arbitrary<object>[]) =>
    fc.tuple(...parts).map((all) => Object.assign({}, ...all) as ControlTask);
  return fc.oneof(
    merge(
      fc.constant({ task: 'history_update' }),
      fc.record({ userUpdates: updates, sessionUpdates: updates }),
      updateTime,
      eventId,
    ),
    merge(
      fc.constant({ task: 'notify_users' }),
      fc.record({ userIds: ids, payload: fc.string({ unit: 'binary' }) }),
      eventId,
    ),
    merge(fc.constant({ task: 'notify_broadcast' }), fc.record({ payload: fc.string() }), eventId),
    merge(fc.constant({ task: 'entry_point_update' }), userId, sessionId, eventId),
    merge(
      fc.record({ task: fc.constantFrom('subscribe_history_viewer', 'unsubscribe_history_viewer') }),
      fc.record({ historyId: fc.stringMatching(/^[0-9a-f]{16}$/) }),
      userId,
      sessionId,
    ),
    fc.constant<ControlTask>({ task: 'reconfigure_watcher' }),
  );
}

/** A field that is there when its value is known, and missing otherwise. */
function known(name: string): (value: unknown) => object {
  return (value) => (value === undefined ? {} : { [name]: value });
}
