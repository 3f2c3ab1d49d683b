import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
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
import { clearMap, readMap } from '../support/session-map.js';

const ids = new IdCodec(ID_SECRET);
const url = '/api/entry_points';
const NOWHERE = ids.encodeEntryPointId(9_999);
const tool = { name: 'Jupyter', label: 'lab', tool_id: 'interactive_jupyter', tool_port: 8888 };
const place = { host: '10.0.0.5', port: 31_001 };

describe.each(INSTALLATIONS)('entry points on %s', (_, install) => {
  let here: Installation;
  let rest: Rest;
  let visitor: Ask;
  beforeAll(async () => {
    here = await install();
    rest = restOf((await here.worker(EVERYTHING)).url);
    visitor = { headers: await here.cookieOf(DEMO.anonymousSession) };
  });
  afterAll(() => here.close());
  beforeEach(async () => {
    await here.sql('DELETE FROM interactivetool_entry_point');
    await here.sql('DELETE FROM job');
    await clearMap(here);
  });

  const create = async (ask: Ask = { as: 'alice' }, more: object = {}) =>
    (await rest('POST', url, { ...ask, body: { ...tool, ...more } })).body;
  /** As the job runner does. */
  const createAt = (where: object, more: object = {}) =>
    create(
      { as: 'admin' },
      { ...('job_id' in more ? {} : { user_id: ids.encodeId(DEMO.users.alice) }), ...where, ...more },
    );
  const running = async (ask: Ask = { as: 'alice' }) => (await rest('GET', `${url}?running=true`, ask)).body;
  const mapOf = (): Promise<{ key: string }[]> => readMap(here);

  it('are made, configured, listed, opened and removed; the proxy knows those that can be reached', async () => {
    const made = await create();
    expect(made).toMatchObject({
      model_class: 'InteractiveToolEntryPoint',
      name: 'Jupyter',
      label: 'lab',
      active: false,
      output_datasets_ids: [],
    });
    expect(made).not.toHaveProperty('target');
    expect(ids.decodeEntryPointId(made.id)).toBeGreaterThan(0);
    expect(await mapOf()).toEqual([]);

    const configured = await rest('PUT', `${url}/${made.id}`, { as: 'admin', body: place });
    expect(configured).toMatchObject({ status: 200, body: { id: made.id, active: true } });
    const [entry] = await mapOf();
    expect(entry).toMatchObject({ key: made.id, key_type: 'interactivetoolentrypoint', ...place });
    const { token } = entry as unknown as { token: string };
    expect(configured.body.target).toMatch(
      new RegExp(`^http://${made.id}-${token}\\.ep\\.interactivetool\\.127\\.0\\.0\\.1:\\d+/$`),
    );
    expect(await running()).toEqual([configured.body]);
    expect((await rest('GET', `${url}?job_id=${made.job_id}`, { as: 'alice' })).body).toEqual([
      configured.body,
    ]);
    expect((await rest('GET', `${url}/${made.id}/access`, { as: 'alice' })).body).toEqual({
      target: configured.body.target,
    });

    expect((await rest('DELETE', `${url}/${made.id}`, { as: 'alice' })).status).toBe(204);
    expect([await running(), await mapOf()]).toEqual([[], []]);
    expect(await here.sql('SELECT state FROM job')).toEqual([{ state: 'stopped' }]);
    expect((await rest('DELETE', `${url}/${made.id}`, { as: 'alice' })).body.err_code).toBe(404001);
  });

  it('by path have a target without a host, and tell the proxy so', async () => {
    const made = await createAt(place, {
      requires_domain: false,
      requires_path_in_url: true,
      entry_url: '/lab?a=1',
    });
    const [entry] = (await mapOf()) as unknown as { token: string; info: string }[];
    expect(made.target).toBe(`/interactivetool/ep/${made.id}/${entry!.token}/lab?a=1`);
    expect(JSON.parse(entry!.info)).toEqual({
      requires_path_in_url: true,
      requires_path_in_header_named: null,
    });
  });

  it('of one job end together', async () => {
    const first = await createAt(place);
    const second = await createAt(place, { job_id: first.job_id });
    expect(await mapOf()).toHaveLength(2);
    await rest('DELETE', `${url}/${first.id}`, { as: 'alice' });
    expect([await running(), await mapOf()]).toEqual([[], []]);
    expect((await rest('GET', `${url}/${second.id}/access`, { as: 'alice' })).body.err_code).toBe(409001);
  });

  it('belong to a session as well, and an administrator makes them for others', async () => {
    const own = await create(visitor);
    expect((await running(visitor)).map(({ id }: { id: string }) => id)).toEqual([own.id]);
    const given = await create({ as: 'admin' }, { user_id: ids.encodeId(DEMO.users.bob) });
    expect((await running({ as: 'bob' })).map(({ id }: { id: string }) => id)).toEqual([given.id]);
    const forSession = await create({ as: 'admin' }, { session_id: ids.encodeId(DEMO.anonymousSession) });
    expect((await running(visitor)).map(({ id }: { id: string }) => id)).toEqual([own.id, forSession.id]);
    expect(await running({})).toEqual([]);
  });

  it('whose encoded id begins with a zero can be read back', async () => {
    const id = Array.from({ length: 200 }, (_v, i) => i + 1_000).find((n) =>
      ids.encodeId(n).startsWith('0'),
    )!;
    await here.sql(`INSERT INTO job (id, user_id, state) VALUES (${id}, 1, 'running')`);
    await here.sql(
      `INSERT INTO interactivetool_entry_point (id, job_id, token, deleted, configured) VALUES (${id}, ${id}, 't', false, false)`,
    );
    const [{ id: text }] = await running();
    expect((await rest('DELETE', `${url}/${text}`, { as: 'alice' })).status).toBe(204);
  });

  it('take no column that is not theirs', async () => {
    const made = await create(undefined, { token: 'mine', deleted: true, 'port = 1 --': 1 });
    await rest('PUT', `${url}/${made.id}`, {
      as: 'alice',
      body: { token: 'mine', job_id: 1, 'x" = 1 --': 1 },
    });
    const [row] = await here.sql<{ token: string }>('SELECT token FROM interactivetool_entry_point');
    expect(row!.token).toMatch(/^[0-9a-f]{32}$/);
    expect(await running()).toHaveLength(1);
  });

  const post = (body: object, ask: Ask = { as: 'alice' }): Ask => ({ ...ask, body: { ...tool, ...body } });
  it.each<Refusal>([
    ['a list of nothing in particular', 'GET', url, { as: 'alice' }, 400, 400008],
    [
      'a list of two things',
      'GET',
      `${url}?running=true&job_id=${ids.encodeId(1)}`,
      { as: 'alice' },
      400,
      400008,
    ],
    ['a job with a malformed id', 'GET', `${url}?job_id=1`, { as: 'alice' }, 400, 400009],
    ['a job that is not there', 'GET', `${url}?job_id=${ids.encodeId(99)}`, { as: 'alice' }, 404, 404001],
    ['making one without login', 'POST', url, post({}, {}), 403, 403001],
    ['making one with the key of no user', 'POST', url, post({}, BOOTSTRAP), 400, 400016],
    ['making one without a name', 'POST', url, post({ name: undefined }), 400, 400007],
    ['making one with a port that is none', 'POST', url, post({ port: 70_000 }), 400, 400008],
    ['making one with a host that is none', 'POST', url, post({ host: 'a b' }), 400, 400008],
    ['making one that leads somewhere, of a user', 'POST', url, post(place), 403, 403006],
    [
      'making one that leads somewhere, of a session',
      'POST',
      url,
      post({ port: 1 }, { as: 'bob' }),
      403,
      403006,
    ],
    ['making one for somebody else', 'POST', url, post({ user_id: ids.encodeId(2) }), 403, 403006],
    ['making one for nobody', 'POST', url, post({ user_id: ids.encodeId(99) }, { as: 'admin' }), 400, 400008],
    ['making one of a job that is not there', 'POST', url, post({ job_id: ids.encodeId(99) }), 404, 404001],
    ['configuring a malformed id', 'PUT', `${url}/!`, { as: 'alice', body: place }, 400, 400008],
    ['configuring what is not there', 'PUT', `${url}/${NOWHERE}`, { as: 'alice', body: place }, 404, 404001],
    ['opening a malformed id', 'GET', `${url}/!/access`, { as: 'alice' }, 400, 400008],
    ['opening what is not there', 'GET', `${url}/${NOWHERE}/access`, { as: 'alice' }, 404, 404001],
    ['removing a malformed id', 'DELETE', `${url}/!`, { as: 'alice' }, 400, 400008],
    ['a method it has not', 'PATCH', url, { as: 'alice' }, 405, 404001],
  ])('refuse %s', async (_what, method, path, ask, status, code) => {
    expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
    expect(await here.sql('SELECT id FROM job')).toEqual([]);
  });

  it('of somebody else cannot be seen, changed or removed', async () => {
    const made = await createAt(place);
    for (const [method, path, body] of [
      ['GET', `${url}?job_id=${made.job_id}`, undefined],
      ['GET', `${url}/${made.id}/access`, undefined],
      ['PUT', `${url}/${made.id}`, place],
      ['DELETE', `${url}/${made.id}`, undefined],
      ['POST', url, { ...tool, job_id: made.job_id }],
    ] as const) {
      for (const ask of [{ as: 'bob' } as const, visitor, {}]) {
        expect(await rest(method, path, { ...ask, body })).toMatchObject({
          status: 403,
          body: { err_code: 403002 },
        });
      }
    }
    expect(await running()).toHaveLength(1);
    expect((await rest('DELETE', `${url}/${made.id}`, { as: 'admin' })).status).toBe(204);
  });
});
