import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import { DEMO, ID_SECRET, type Installation } from '../support/installation.js';
import {
  type Ask,
  BOOTSTRAP,
  EVERYTHING,
  INSTALLATIONS,
  type Refusal,
  type Rest,
  restOf,
} from '../support/rest.js';

const ids = new IdCodec(ID_SECRET);
const url = '/api/histories';
const ofAlice = `${url}/${ids.encodeId(DEMO.histories.alice)}`;
const ofBob = `${url}/${ids.encodeId(DEMO.histories.bob)}`;
const NOWHERE = `${url}/${ids.encodeId(9_999)}`;
const STATS = 'application/vnd.galaxy.history.contents.stats+json';

describe.each(INSTALLATIONS)('histories on %s', (_, install) => {
  let here: Installation;
  let serviceUrl: string;
  let rest: Rest;
  let visitor: Ask;
  beforeAll(async () => {
    here = await install();
    serviceUrl = (await here.worker(EVERYTHING)).url;
    rest = restOf(serviceUrl);
    visitor = { headers: await here.cookieOf(DEMO.anonymousSession) };
  });
  afterAll(() => here.close());

  const make = async (name: string, ask: Ask = { as: 'alice' }) =>
    (await rest('POST', url, { ...ask, body: { name } })).body;
  const names = async (path: string, ask: Ask) =>
    (await rest('GET', path, ask)).body.map(({ name }: { name: string }) => name);

  it('are made, listed, renamed, deleted and brought back', async () => {
    const made = await make('Mine');
    expect(made).toMatchObject({
      model_class: 'History',
      name: 'Mine',
      deleted: false,
      contents_active: { active: 0, deleted: 0, hidden: 0 },
    });
    const own = `${url}/${made.id}`;
    expect(await names(`${url}?limit=1`, { as: 'alice' })).toEqual(['Mine']);
    const renamed = await rest('PUT', own, { as: 'alice', body: { name: 'Yours' } });
    expect(renamed.body.name).toBe('Yours');
    expect(renamed.body.update_time > made.update_time).toBe(true);
    expect((await rest('DELETE', own, { as: 'alice' })).body.deleted).toBe(true);
    expect(await names(url, { as: 'alice' })).not.toContain('Yours');
    expect(await names(`${url}?deleted=true`, { as: 'alice' })).toContain('Yours');
    await rest('PUT', own, { as: 'alice', body: { deleted: false } });
    expect(await names(url, { as: 'alice' })).toContain('Yours');
    expect((await rest('DELETE', `${own}?purge=true`, { as: 'alice' })).body).toMatchObject({
      deleted: true,
      purged: true,
    });
  });

  it('show the keys and the view that are asked for', async () => {
    const keys = await rest('GET', `${ofAlice}?keys=size,contents_active,update_time,nonsense`, {
      as: 'alice',
    });
    expect(Object.keys(keys.body)).toEqual(['size', 'contents_active', 'update_time']);
    expect((await rest('GET', `${ofAlice}?view=summary`, { as: 'alice' })).body).not.toHaveProperty('size');
    expect((await rest('GET', `${ofAlice}?view=detailed`, { as: 'alice' })).body).toHaveProperty('size', 0);
  });

  it('have the newest audit time as their update_time', async () => {
    await here.change(DEMO.histories.bob);
    const [{ newest }] = (await here.sql<{ newest: string }>(
      `SELECT replace(CAST(max(update_time) AS text), ' ', 'T') AS newest FROM history_audit WHERE history_id = ${DEMO.histories.bob}`,
    )) as [{ newest: string }];
    const shown = (await rest('GET', ofBob, { as: 'bob' })).body.update_time;
    expect(shown.slice(0, 23)).toBe(newest.padEnd(23, '0').slice(0, 23));
  });

  it('are published, linked and shared, and taken back', async () => {
    const own = `${url}/${(await make('Ours')).id}`;
    const sees = async (ask: Ask) => (await rest('GET', own, ask)).status;
    expect([await sees({ as: 'bob' }), await sees({}), await sees({ as: 'admin' })]).toEqual([403, 403, 200]);
    const put = (path: string, body?: object) => rest('PUT', `${own}/${path}`, { as: 'alice', body });

    const shared = await put('share_with_users', { user_ids: ['Bob@example.org'] });
    expect(shared.body.users_shared_with).toEqual([{ id: ids.encodeId(2), email: 'bob@example.org' }]);
    expect([await sees({ as: 'bob' }), await sees({})]).toEqual([200, 403]);
    expect(await names(`${url}/shared_with_me`, { as: 'bob' })).toEqual(['Ours']);
    await put('share_with_users', { user_ids: [] });
    expect(await sees({ as: 'bob' })).toBe(403);

    expect((await put('enable_link_access')).body).toMatchObject({ importable: true, published: false });
    expect(await sees({})).toBe(200);
    expect((await put('publish')).body).toMatchObject({ importable: true, published: true });
    expect(await names(`${url}/published`, {})).toEqual(['Ours']);
    expect((await put('unpublish')).body).toMatchObject({ importable: true, published: false });
    expect((await put('disable_link_access')).body).toMatchObject({ importable: false, published: false });
    expect(await sees({})).toBe(403);
    expect((await rest('GET', `${own}/sharing`, { as: 'alice' })).body.users_shared_with).toEqual([]);
  });

  it('that are shared are told to those who are new to them, as they prefer', async () => {
    const own = `${url}/${(await make('Of two')).id}`;
    const share = (...user_ids: string[]) =>
      rest('PUT', `${own}/share_with_users`, { as: 'alice', body: { user_ids } });
    const told = async (as: 'bob' | 'admin' | 'alice') =>
      (await rest('GET', '/api/notifications', { as })).body
        .filter(({ category }: { category: string }) => category === 'new_shared_item')
        .map(({ content }: { content: { item_name: string } }) => content)
        .filter((content: { item_name: string }) => content.item_name === 'Of two');
    const item = {
      category: 'new_shared_item',
      item_type: 'history',
      item_name: 'Of two',
      owner_name: 'alice',
      slug: 'u/alice/h/of-two',
    };
    const silent = { new_shared_item: { enabled: false, channels: { push: true } } };
    const preferences = (choice: object) =>
      rest('PUT', '/api/notifications/preferences', { as: 'admin', body: { preferences: choice } });
    await preferences(silent);
    const bob = await here.stream(serviceUrl, 'key=demo-bob');
    await share('bob@example.org', 'admin@example.org');
    const frame = await bob.waitFor(({ event }) => event === 'notification_update');
    expect(JSON.parse(frame.data!)).toMatchObject({ content: item });
    expect([await told('bob'), await told('admin'), await told('alice')]).toEqual([[item], [], []]);
    await preferences({ new_shared_item: { enabled: true, channels: { push: true } } });
    await share('bob@example.org', 'admin@example.org');
    expect([await told('bob'), await told('admin')]).toEqual([[item], []]);
    await share('bob@example.org');
    await share('bob@example.org', 'admin@example.org');
    expect([await told('bob'), await told('admin')]).toEqual([[item], [item]]);
    expect((await rest('GET', own, { as: 'alice' })).body.slug).toBe('of-two');
  });

  it('that cannot be shared with somebody are told to nobody', async () => {
    const own = `${url}/${(await make('Nobody sees')).id}`;
    const body = { user_ids: ['bob@example.org', ids.encodeId(9_999)] };
    expect((await rest('PUT', `${own}/share_with_users`, { as: 'alice', body })).status).toBe(400);
    const list = (await rest('GET', '/api/notifications', { as: 'bob' })).body;
    expect(JSON.stringify(list)).not.toContain('Nobody sees');
  });

  it('of a session are its own', async () => {
    const made = await make('Of a visitor', visitor);
    expect(await names(url, visitor)).toContain('Of a visitor');
    expect((await rest('GET', `${url}/${made.id}`, { as: 'alice' })).body.err_code).toBe(403002);
    expect((await rest('GET', '/history/current_history_json', visitor)).body.id).toBe(made.id);
  });

  it('take no column that is not theirs', async () => {
    const own = `${url}/${(await make('Safe')).id}`;
    const body = { name: 'Still safe', user_id: 2, 'name = (SELECT 1) --': 'x', hid_counter: 99 };
    expect((await rest('PUT', own, { as: 'alice', body })).body).toMatchObject({
      name: 'Still safe',
      hid_counter: 1,
    });
  });

  const name = { name: 'x' };
  it.each<Refusal>([
    ['making one without login', 'POST', url, { body: name }, 403, 403001],
    ['making one with the key of no user', 'POST', url, { ...BOOTSTRAP, body: name }, 400, 400016],
    ['making one with an empty name', 'POST', url, { as: 'alice', body: { name: '' } }, 400, 400008],
    ['making one with a blank name', 'POST', url, { as: 'alice', body: { name: ' \t ' } }, 400, 400008],
    ['reading a foreign one', 'GET', ofBob, { as: 'alice' }, 403, 403002],
    ['reading one that is not there', 'GET', NOWHERE, { as: 'alice' }, 404, 404001],
    ['reading a malformed id', 'GET', `${url}/1`, { as: 'alice' }, 400, 400009],
    ['changing a foreign one', 'PUT', ofBob, { as: 'alice', body: name }, 403, 403003],
    ['changing one as an administrator', 'PUT', ofBob, { as: 'admin', body: name }, 403, 403003],
    ['changing nothing', 'PUT', ofAlice, { as: 'alice', body: {} }, 400, 400007],
    ['changing one that is not there', 'PUT', NOWHERE, { as: 'alice', body: name }, 404, 404001],
    ['deleting without login', 'DELETE', ofAlice, {}, 403, 403001],
    ['deleting a foreign one', 'DELETE', ofBob, { as: 'alice' }, 403, 403003],
    ['publishing a foreign one', 'PUT', `${ofBob}/publish`, { as: 'alice' }, 403, 403003],
    [
      'sharing with nobody known',
      'PUT',
      `${ofAlice}/share_with_users`,
      { as: 'alice', body: { user_ids: ['x@y.z'] } },
      400,
      400008,
    ],
    [
      'sharing with an id of nobody',
      'PUT',
      `${ofAlice}/share_with_users`,
      { as: 'alice', body: { user_ids: [ids.encodeId(999)] } },
      400,
      400008,
    ],
    [
      'sharing with a malformed id',
      'PUT',
      `${ofAlice}/share_with_users`,
      { as: 'alice', body: { user_ids: ['1'] } },
      400,
      400009,
    ],
    [
      'sharing without saying with whom',
      'PUT',
      `${ofAlice}/share_with_users`,
      { as: 'alice', body: {} },
      400,
      400007,
    ],
    ['asking who sees a foreign one', 'GET', `${ofBob}/sharing`, { as: 'alice' }, 403, 403003],
    ['what is shared with nobody', 'GET', `${url}/shared_with_me`, {}, 403, 403001],
    ['a window that is none', 'GET', `${url}?limit=many`, { as: 'alice' }, 400, 400008],
    ['a method it has not', 'PATCH', url, { as: 'alice' }, 405, 404001],
  ])('refuse %s', async (_what, method, path, ask, status, code) => {
    expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
  });

  describe('contents', () => {
    let contents: string;
    beforeAll(async () => {
      contents = `${url}/${(await make('Full')).id}/contents`;
    });
    const add = async (body: object) => (await rest('POST', contents, { as: 'alice', body })).body;
    const list = async (query = '', ask: Ask = { as: 'alice' }) =>
      (await rest('GET', `${contents}${query}`, ask)).body;
    const namesOf = async (query: string) => (await list(query)).map((one: { name: string }) => one.name);

    it('are added with the next number, changed, hidden and deleted, and the counters follow', async () => {
      const dataset = await add({ name: 'reads', extension: 'fastq', state: 'running' });
      const collection = await add({ name: 'pair', type: 'dataset_collection' });
      expect([dataset, collection]).toMatchObject([
        { history_content_type: 'dataset', hid: 1, state: 'running', extension: 'fastq', deleted: false },
        { history_content_type: 'dataset_collection', hid: 2, collection_type: 'list' },
      ]);
      const path = `${contents}/datasets/${dataset.id}`;
      const changed = await rest('PUT', path, {
        as: 'alice',
        body: { name: 'good reads', state: 'ok', visible: false },
      });
      expect(changed.body).toMatchObject({ name: 'good reads', state: 'ok', visible: false });
      expect(changed.body.update_time > dataset.update_time).toBe(true);
      expect((await rest('GET', path, { as: 'alice' })).body).toEqual(changed.body);
      const gone = await rest('DELETE', `${contents}/dataset_collections/${collection.id}`, { as: 'alice' });
      expect(gone.body.deleted).toBe(true);
      const counters = await rest('GET', contents.replace('/contents', '?keys=contents_active'), {
        as: 'alice',
      });
      expect(counters.body.contents_active).toEqual({ active: 0, deleted: 1, hidden: 1 });
    });

    it('are filtered, ordered and windowed as the polling client asks', async () => {
      contents = `${url}/${(await make('Filtered')).id}/contents`;
      for (const one of ['b', 'a', 'c']) await add({ name: one });
      const third = (await list()).at(-1);
      expect(await namesOf('?v=dev&order=name-dsc')).toEqual(['c', 'b', 'a']);
      expect(await namesOf('?v=dev&order=hid-dsc&limit=1&offset=1')).toEqual(['a']);
      const since = encodeURIComponent(`${third.update_time}Z`);
      // With what became visible since the last known position before: the others, where that is from before them.
      expect(await namesOf(`?v=dev&limit=1000&q=update_time-ge&qv=${since}`)).toContain('c');
      const inAnHour = new Date(Date.now() + 3_600_000).toISOString();
      await expect
        .poll(() => namesOf(`?v=dev&q=update_time-gt&qv=${inAnHour}`), { timeout: 10_000 })
        .toEqual([]);
      expect(await namesOf('?q=deleted&qv=false&q=name-in&qv=a,c&q=hid-gt&qv=2')).toEqual(['c']);
      expect(await namesOf('?q=name-contains&qv=%25')).toEqual([]);
      const stats = await list('?q=hid-ge&qv=2&limit=1', { as: 'alice', headers: { accept: STATS } });
      expect(stats).toMatchObject({ stats: { total_matches: 2 }, contents: [{ name: 'a' }] });
      const [plain, detailed] = await list(`?v=dev&details=${third.id}&order=hid-asc&offset=1`);
      expect([Object.hasOwn(plain, 'misc_info'), Object.hasOwn(detailed, 'misc_info')]).toEqual([
        false,
        true,
      ]);
    });

    it('refuse a page token behind every id', async () => {
      contents = `${url}/${(await make('Paged')).id}/contents`;
      const { since } = await list('?since=');
      const page = `${since === null ? 'none' : since.split('.')[0]}.0.1.d2147483648`;
      const answer = await rest('GET', `${contents}?since=${page}`, { as: 'alice' });
      expect(answer).toMatchObject({ status: 400, body: { err_code: 400008 } });
    });

    it('are found by patterns, whatever their last backslash escapes', async () => {
      contents = `${url}/${(await make('Patterns')).id}/contents`;
      for (const one of ['50%', 'a\\', 'ab']) await add({ name: one });
      const like = (pattern: string) => namesOf(`?q=name-like&qv=${encodeURIComponent(pattern)}`);
      expect(await like('%\\%')).toEqual(['50%']);
      for (const pattern of ['%\\', 'a\\', 'a\\\\']) expect(await like(pattern)).toEqual(['a\\']);
      for (const pattern of ['a\\\\\\', '\\', '%\\\\%b']) expect(await like(pattern)).toEqual([]);
      expect(await like('a_')).toEqual(['a\\', 'ab']);
    });

    it('find what a change touched since the update_time that was known', async () => {
      const { id } = await make('Delta');
      contents = `${url}/${id}/contents`;
      const [one] = [await add({ name: 'one' }), await add({ name: 'two' })];
      const known = (await rest('GET', `${url}/${id}`, { as: 'alice' })).body.update_time;
      await rest('PUT', `${contents}/datasets/${one.id}`, { as: 'alice', body: { name: 'one again' } });
      expect(await namesOf(`?v=dev&q=update_time-ge&qv=${known}Z`)).toContain('one again');
    });

    it.each<Refusal>([
      ['reading foreign ones', 'GET', `${ofBob}/contents`, { as: 'alice' }, 403, 403002],
      ['those of a history that is not there', 'GET', `${NOWHERE}/contents`, { as: 'alice' }, 404, 404001],
      ['a malformed id', 'GET', `${url}/1/contents`, { as: 'alice' }, 400, 400009],
      ['an unknown filter', 'GET', `${ofAlice}/contents?q=password-eq&qv=1`, { as: 'alice' }, 400, 400008],
      ['a filter without a value', 'GET', `${ofAlice}/contents?q=hid-eq`, { as: 'alice' }, 400, 400008],
      [
        'a time that is none',
        'GET',
        `${ofAlice}/contents?q=update_time-ge&qv=now`,
        { as: 'alice' },
        400,
        400008,
      ],
      ['an unknown order', 'GET', `${ofAlice}/contents?order=id;DROP`, { as: 'alice' }, 400, 400008],
      ['adding to foreign ones', 'POST', `${ofBob}/contents`, { as: 'alice', body: name }, 403, 403003],
      ['adding without a name', 'POST', `${ofAlice}/contents`, { as: 'alice', body: {} }, 400, 400007],
      ['adding without login', 'POST', `${ofAlice}/contents`, { body: name }, 403, 403001],
      [
        'a state of a collection',
        'POST',
        `${ofAlice}/contents`,
        { as: 'alice', body: { ...name, type: 'dataset_collection', state: 'ok' } },
        400,
        400008,
      ],
      [
        'an unknown kind',
        'GET',
        `${ofAlice}/contents/files/${ids.encodeId(1)}`,
        { as: 'alice' },
        400,
        400008,
      ],
      [
        'an item that is not there',
        'GET',
        `${ofAlice}/contents/datasets/${ids.encodeId(999)}`,
        { as: 'alice' },
        404,
        404001,
      ],
      [
        'changing nothing',
        'PUT',
        `${ofAlice}/contents/datasets/${ids.encodeId(999)}`,
        { as: 'alice', body: {} },
        400,
        400007,
      ],
      [
        'changing what is not there',
        'PUT',
        `${ofAlice}/contents/datasets/${ids.encodeId(999)}`,
        { as: 'alice', body: name },
        404,
        404001,
      ],
      [
        'deleting foreign ones',
        'DELETE',
        `${ofBob}/contents/datasets/${ids.encodeId(1)}`,
        { as: 'alice' },
        403,
        403003,
      ],
    ])('refuse %s', async (_what, method, path, ask, status, code) => {
      expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
    });
  });
});
