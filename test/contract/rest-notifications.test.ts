import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import { DEMO, ID_SECRET, type Installation, type RunningWorker } from '../support/installation.js';
import {
  type Answer,
  BOOTSTRAP,
  EVERYTHING,
  INSTALLATIONS,
  type Refusal,
  type Rest,
  restOf,
} from '../support/rest.js';

const ids = new IdCodec(ID_SECRET);
const alice = ids.encodeId(DEMO.users.alice);
const bob = ids.encodeId(DEMO.users.bob);
const NOWHERE = ids.encodeId(9_999);

const content = { subject: 'Hello', message: 'Text in **Markdown**' };
const message = { source: 'admin', category: 'message', variant: 'info', content };
const broadcast = { source: 'admin', variant: 'info', content };
const inFuture = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();

const list = '/api/notifications';
const all = '/api/notifications/broadcast';
const preferences = '/api/notifications/preferences';

describe.each(INSTALLATIONS)('notifications on %s', (_, install) => {
  let here: Installation;
  let worker: RunningWorker;
  let rest: Rest;
  beforeAll(async () => {
    here = await install();
    worker = await here.worker(EVERYTHING);
    rest = restOf(worker.url);
  });
  afterAll(() => here.close());
  beforeEach(async () => {
    await here.sql('DELETE FROM user_notification_association');
    await here.sql('DELETE FROM notification');
    await here.sql('DELETE FROM user_preference');
  });

  const send = (recipients: object, notification: object = message): Promise<Answer> =>
    rest('POST', list, { as: 'admin', body: { recipients, notification } });
  const sendToAlice = async (notification: object = message): Promise<string> =>
    (await send({ user_ids: [alice] }, notification)).body.notification.id;
  const listOf = async (as: 'alice' | 'bob') => (await rest('GET', list, { as })).body;

  describe('sending', () => {
    it('reaches each user once, however often named', async () => {
      const answer = await send({ user_ids: [alice, bob, alice] });
      expect(answer).toMatchObject({
        status: 200,
        body: {
          total_notifications_sent: 2,
          notification: { category: 'message', variant: 'info', source: 'admin', content },
        },
      });
      expect(Object.keys(answer.body.notification)).toEqual([
        'id',
        'source',
        'category',
        'variant',
        'create_time',
        'update_time',
        'publication_time',
        'expiration_time',
        'content',
      ]);
      expect(await listOf('alice')).toMatchObject([{ content, seen_time: null, deleted: false }]);
    });

    it('reaches the members of groups and roles, without those that are deleted', async () => {
      await here.sql(
        "INSERT INTO galaxy_group (id, name, deleted) VALUES (1, 'all', false), (2, 'old', true)",
      );
      await here.sql("INSERT INTO role (id, name, deleted) VALUES (1, 'curators', false)");
      await here.sql('INSERT INTO user_group_association (user_id, group_id) VALUES (1, 1), (2, 2)');
      await here.sql('INSERT INTO user_role_association (user_id, role_id) VALUES (1, 1), (3, 1)');
      const group_ids = [ids.encodeId(1), ids.encodeId(2)];
      const answer = await send({ group_ids, role_ids: [ids.encodeId(1)] });
      expect(answer.body.total_notifications_sent).toBe(2);
      expect([await listOf('alice'), await listOf('bob')]).toMatchObject([[{ content }], []]);
    });

    it('takes several notifications in one call', async () => {
      const answer = await rest('POST', list, {
        as: 'admin',
        body: {
          recipients: { user_ids: [alice, bob] },
          notifications: [message, { ...message, variant: 'urgent' }],
        },
      });
      expect(answer.body.total_notifications_sent).toBe(4);
      expect(answer.body.notifications).toHaveLength(2);
    });

    it('ends 180 days after the creation unless told otherwise', async () => {
      const { notification } = (await send({ user_ids: [alice] })).body;
      const days =
        (Date.parse(notification.expiration_time) - Date.parse(notification.create_time)) / 86_400_000;
      expect(days).toBeCloseTo(180, 3);
    });

    const post = (body: unknown): { as: 'admin'; body: unknown } => ({ as: 'admin', body });
    const toAlice = (notification: object) => post({ recipients: { user_ids: [alice] }, notification });
    it.each<Refusal>([
      [
        'by a user',
        'POST',
        list,
        { as: 'alice', body: { recipients: {}, notification: message } },
        403,
        403006,
      ],
      ['by nobody', 'POST', list, { body: { recipients: {}, notification: message } }, 403, 403006],
      ['with an empty body', 'POST', list, { as: 'admin', body: {} }, 400, 400007],
      ['to nobody', 'POST', list, post({ recipients: {}, notification: message }), 400, 400008],
      [
        'to a user who does not exist',
        'POST',
        list,
        post({ recipients: { user_ids: [NOWHERE] }, notification: message }),
        400,
        400008,
      ],
      [
        'to a group that does not exist',
        'POST',
        list,
        post({ recipients: { group_ids: [NOWHERE] }, notification: message }),
        400,
        400008,
      ],
      [
        'to a malformed id',
        'POST',
        list,
        post({ recipients: { user_ids: ['x'] }, notification: message }),
        400,
        400009,
      ],
      ['without a notification', 'POST', list, post({ recipients: { user_ids: [alice] } }), 400, 400007],
      ['without a source', 'POST', list, toAlice({ ...message, source: undefined }), 400, 400007],
      ['without a subject', 'POST', list, toAlice({ ...message, content: { message: 'x' } }), 400, 400007],
      ['with an unknown variant', 'POST', list, toAlice({ ...message, variant: 'loud' }), 400, 400008],
      ['with an unknown category', 'POST', list, toAlice({ ...message, category: 'broadcast' }), 400, 400008],
      [
        'with a subject that is no text',
        'POST',
        list,
        toAlice({ ...message, content: { ...content, subject: 1 } }),
        400,
        400008,
      ],
      [
        'with a time that is none',
        'POST',
        list,
        toAlice({ ...message, publication_time: 'soon' }),
        400,
        400008,
      ],
      [
        'that is over before it is out',
        'POST',
        list,
        toAlice({ ...message, expiration_time: '2020-01-01' }),
        400,
        400008,
      ],
      [
        'that was over before now',
        'POST',
        list,
        toAlice({ ...message, publication_time: '2019-01-01', expiration_time: '2020-01-01' }),
        400,
        400008,
      ],
      [
        'to everybody that was over before now',
        'POST',
        all,
        post({ ...broadcast, publication_time: '2019-01-01', expiration_time: '2020-01-01' }),
        400,
        400008,
      ],
      ['with a body that is no JSON', 'POST', list, { as: 'admin', body: '{' }, 400, 400003],
    ])('%s is refused and leaves nothing', async (_what, method, path, ask, status, code) => {
      expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
      expect(await here.sql('SELECT id FROM notification')).toEqual([]);
      expect(await here.sql('SELECT id FROM lightcone_outbox')).toEqual([]);
    });
  });

  describe('the list', () => {
    it('is empty for a visitor, and shows the newest first in a window', async () => {
      for (const subject of ['one', 'two', 'three']) {
        await sendToAlice({ ...message, content: { ...content, subject } });
      }
      expect((await rest('GET', list)).body).toEqual([]);
      const subjects = async (query: string) =>
        (await rest('GET', `${list}${query}`, { as: 'alice' })).body.map(
          (one: { content: { subject: string } }) => one.content.subject,
        );
      expect(await subjects('')).toEqual(['three', 'two', 'one']);
      expect(await subjects('?limit=1&offset=1')).toEqual(['two']);
    });

    it('hides what is not published yet, what has expired and what was deleted', async () => {
      await sendToAlice({ ...message, publication_time: inFuture(3_600) });
      const expired = await sendToAlice();
      await here.sql(
        `UPDATE notification SET expiration_time = '2026-01-01 00:00:00' WHERE id = ${ids.decodeId(expired)}`,
      );
      const deleted = await sendToAlice();
      expect((await rest('DELETE', `${list}/${deleted}`, { as: 'alice' })).status).toBe(204);
      expect(await listOf('alice')).toEqual([]);
      expect((await rest('GET', `${list}/${expired}`, { as: 'alice' })).status).toBe(404);
    });

    it.each<Refusal>([
      ['a limit of 0', 'GET', `${list}?limit=0`, { as: 'alice' }, 400, 400008],
      ['a negative offset', 'GET', `${list}?offset=-1`, { as: 'alice' }, 400, 400008],
      ['a wrong key', 'GET', list, { headers: { 'x-api-key': 'wrong' } }, 401, 401001],
      ['a damaged cookie', 'GET', list, { headers: { cookie: 'galaxysession=xyz' } }, 400, 400009],
    ])('refuses %s', async (_what, method, path, ask, status, code) => {
      expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
    });
  });

  describe('marking', () => {
    it('as seen keeps the time of the first look, and can be taken back', async () => {
      const id = await sendToAlice();
      const seenTime = async () => (await rest('GET', `${list}/${id}`, { as: 'alice' })).body.seen_time;
      const mark = (body: object) => rest('PUT', `${list}/${id}`, { as: 'alice', body });
      expect((await mark({ seen: true })).status).toBe(204);
      const first = await seenTime();
      expect(first).toMatch(/^\d{4}-/);
      await mark({ seen: true });
      expect(await seenTime()).toBe(first);
      await mark({ seen: false });
      expect(await seenTime()).toBeNull();
    });

    it('in batches counts those that were there', async () => {
      const own = [await sendToAlice(), await sendToAlice()];
      const notification_ids = [...own, NOWHERE];
      expect(
        await rest('PUT', list, { as: 'alice', body: { notification_ids, changes: { seen: true } } }),
      ).toMatchObject({ status: 200, body: { updated_count: 2 } });
      expect((await listOf('alice')).every((one: { seen_time: string }) => one.seen_time !== null)).toBe(
        true,
      );
      expect(await rest('DELETE', list, { as: 'alice', body: { notification_ids } })).toMatchObject({
        status: 200,
        body: { updated_count: 2 },
      });
      expect(await listOf('alice')).toEqual([]);
    });

    it('does not touch those of others', async () => {
      const id = await sendToAlice();
      expect((await rest('GET', `${list}/${id}`, { as: 'bob' })).body.err_code).toBe(404001);
      expect((await rest('DELETE', `${list}/${id}`, { as: 'bob' })).body.err_code).toBe(404001);
      expect(await listOf('alice')).toHaveLength(1);
    });

    const none = { notification_ids: [NOWHERE], changes: { seen: true } };
    it.each<Refusal>([
      ['without login', 'PUT', list, { body: none }, 403, 403001],
      ['with the key of no user', 'PUT', list, { ...BOOTSTRAP, body: none }, 400, 400016],
      ['without a change', 'PUT', list, { as: 'alice', body: { ...none, changes: {} } }, 400, 400008],
      ['without ids', 'PUT', list, { as: 'alice', body: { changes: { seen: true } } }, 400, 400007],
      [
        'with a malformed id',
        'PUT',
        list,
        { as: 'alice', body: { ...none, notification_ids: ['1'] } },
        400,
        400009,
      ],
      ['deleting without login', 'DELETE', list, { body: { notification_ids: [] } }, 403, 403001],
      ['deleting without ids', 'DELETE', list, { as: 'alice', body: {} }, 400, 400007],
      ['one without login', 'PUT', `${list}/${NOWHERE}`, { body: { seen: true } }, 403, 403001],
      [
        'one that is not there',
        'PUT',
        `${list}/${NOWHERE}`,
        { as: 'alice', body: { seen: true } },
        404,
        404001,
      ],
      ['one without a change', 'PUT', `${list}/${NOWHERE}`, { as: 'alice', body: {} }, 400, 400008],
      [
        'one with text for a flag',
        'PUT',
        `${list}/${NOWHERE}`,
        { as: 'alice', body: { seen: 'yes' } },
        400,
        400008,
      ],
      ['reading one without login', 'GET', `${list}/${NOWHERE}`, {}, 403, 403001],
      ['reading a malformed id', 'GET', `${list}/x`, { as: 'alice' }, 400, 400009],
      ['deleting one without login', 'DELETE', `${list}/${NOWHERE}`, {}, 403, 403001],
    ])('%s is refused', async (_what, method, path, ask, status, code) => {
      expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
    });
  });

  describe('the status', () => {
    it('counts everything unread and lists what is new', async () => {
      const seen = await sendToAlice();
      await rest('PUT', `${list}/${seen}`, { as: 'alice', body: { seen: true } });
      await sendToAlice();
      await rest('POST', all, { as: 'admin', body: broadcast });
      const past = await rest('GET', `${list}/status?since=2026-01-01`, { as: 'alice' });
      expect(past.body.total_unread_count).toBe(1);
      expect([past.body.notifications.length, past.body.broadcasts.length]).toEqual([2, 1]);
      const future = await rest('GET', `${list}/status?since=${inFuture(60)}`, { as: 'alice' });
      expect(future.body).toEqual({ total_unread_count: 1, notifications: [], broadcasts: [] });
      const visitor = await rest('GET', `${list}/status?since=2026-01-01T00:00:00`);
      expect(visitor.body).toMatchObject({
        total_unread_count: 0,
        notifications: [],
        broadcasts: [{ content }],
      });
    });

    it.each<Refusal>([
      ['without a time', 'GET', `${list}/status`, { as: 'alice' }, 400, 400007],
      ['with a time that is none', 'GET', `${list}/status?since=yesterday`, { as: 'alice' }, 400, 400008],
    ])('%s is refused', async (_what, method, path, ask, status, code) => {
      expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
    });
  });

  describe('broadcasts', () => {
    it('are seen by everybody while they are active, and by administrators always', async () => {
      const now = (await rest('POST', all, { as: 'admin', body: broadcast })).body.notification;
      const later = (
        await rest('POST', all, { as: 'admin', body: { ...broadcast, publication_time: inFuture(3_600) } })
      ).body.notification;
      const shown = async (as?: 'admin') =>
        (await rest('GET', all, { as })).body.map(({ id }: { id: string }) => id);
      expect(await shown()).toEqual([now.id]);
      expect(await shown('admin')).toEqual([later.id, now.id]);
      expect((await rest('GET', `${all}/${now.id}`)).body.content).toEqual({
        ...content,
        category: 'broadcast',
      });
      expect((await rest('GET', `${all}/${later.id}`)).body.err_code).toBe(404001);
      expect((await rest('GET', `${all}/${later.id}`, { as: 'admin' })).status).toBe(200);
    });

    it('are edited in part', async () => {
      const { id } = (await rest('POST', all, { as: 'admin', body: broadcast })).body.notification;
      const edit = { variant: 'urgent', content: { subject: 'New', message: 'text' } };
      expect((await rest('PUT', `${all}/${id}`, { as: 'admin', body: edit })).status).toBe(204);
      expect((await rest('GET', `${all}/${id}`)).body).toMatchObject({ source: 'admin', ...edit });
    });

    it('are not edited into what is over, and stay as they were', async () => {
      const body = { ...broadcast, publication_time: '2019-01-01' };
      const { id } = (await rest('POST', all, { as: 'admin', body })).body.notification;
      const before = (await rest('GET', `${all}/${id}`)).body;
      const edit = { source: 'other', expiration_time: '2020-01-01' };
      expect(await rest('PUT', `${all}/${id}`, { as: 'admin', body: edit })).toMatchObject({
        status: 400,
        body: { err_code: 400008, err_msg: expect.stringContaining('2020-01-01') },
      });
      expect((await rest('GET', `${all}/${id}`)).body).toEqual(before);
    });

    it.each<Refusal>([
      ['sending as a user', 'POST', all, { as: 'bob', body: broadcast }, 403, 403006],
      [
        'sending without content',
        'POST',
        all,
        { as: 'admin', body: { ...broadcast, content: undefined } },
        400,
        400007,
      ],
      [
        'sending with a link that is none',
        'POST',
        all,
        { as: 'admin', body: { ...broadcast, content: { ...content, action_links: [1] } } },
        400,
        400008,
      ],
      ['editing as a user', 'PUT', `${all}/${NOWHERE}`, { as: 'bob', body: {} }, 403, 403006],
      ['editing what is not there', 'PUT', `${all}/${NOWHERE}`, { as: 'admin', body: {} }, 404, 404001],
      ['editing a malformed id', 'PUT', `${all}/1`, { as: 'admin', body: {} }, 400, 400009],
      ['reading what is not there', 'GET', `${all}/${NOWHERE}`, {}, 404, 404001],
      ['a method it has not', 'DELETE', all, { as: 'admin' }, 405, 404001],
    ])('refuse %s', async (_what, method, path, ask, status, code) => {
      expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
    });
  });

  describe('preferences', () => {
    const off = { enabled: false, channels: { push: true, email: true } };

    it('start with everything on, and keep what is not named', async () => {
      const answer = await rest('GET', preferences, { as: 'alice' });
      expect(answer.headers.get('supported-channels')).toBe('push');
      expect(answer.body.preferences.message).toEqual({
        enabled: true,
        channels: { push: true, email: true },
      });
      const chosen = await rest('PUT', preferences, { as: 'alice', body: { preferences: { message: off } } });
      expect(chosen.body.preferences).toMatchObject({ message: off, new_shared_item: { enabled: true } });
      expect((await rest('GET', preferences, { as: 'alice' })).body).toEqual(chosen.body);
    });

    it('keep a category away, except what is urgent', async () => {
      await rest('PUT', preferences, { as: 'alice', body: { preferences: { message: off } } });
      expect((await send({ user_ids: [alice, bob] })).body.total_notifications_sent).toBe(1);
      expect(await listOf('alice')).toEqual([]);
      await sendToAlice({ ...message, variant: 'urgent' });
      expect(await listOf('alice')).toHaveLength(1);
    });

    it('that do not validate count as none', async () => {
      await here.sql(
        `INSERT INTO user_preference (user_id, name, value) VALUES (1, 'notifications', '{"preferences":{"message":1}}')`,
      );
      await sendToAlice();
      expect(await listOf('alice')).toHaveLength(1);
    });

    it.each<Refusal>([
      ['reading without login', 'GET', preferences, {}, 403, 403001],
      ['choosing without login', 'PUT', preferences, { body: { preferences: {} } }, 403, 403001],
      [
        'choosing with the key of no user',
        'PUT',
        preferences,
        { ...BOOTSTRAP, body: { preferences: {} } },
        400,
        400016,
      ],
      ['choosing nothing', 'PUT', preferences, { as: 'alice', body: {} }, 400, 400007],
      [
        'an unknown category',
        'PUT',
        preferences,
        { as: 'alice', body: { preferences: { gossip: off } } },
        400,
        400008,
      ],
      [
        'half a choice',
        'PUT',
        preferences,
        { as: 'alice', body: { preferences: { message: { enabled: true } } } },
        400,
        400007,
      ],
    ])('refuse %s', async (_what, method, path, ask, status, code) => {
      expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
    });
  });
});
