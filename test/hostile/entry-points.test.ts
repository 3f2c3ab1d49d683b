/** The proxy for interactive tools reaches what no visitor reaches: nobody but an administrator says where it leads. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { BOOTSTRAP, EVERYTHING, type Rest, restOf } from '../support/rest.js';
import { readMap } from '../support/session-map.js';

const url = '/api/entry_points';
let here: Installation;
let rest: Rest;
let stranger: { cookie: string };
beforeAll(async () => {
  here = Installation.embedded();
  const settings = { ...EVERYTHING, sse: { entry_point_hosts: ['169.254.7.0/24', 'metadata'] } };
  rest = restOf((await here.worker(settings)).url);
  const answer = await rest('POST', '/api/sessions');
  stranger = { cookie: answer.headers.get('set-cookie')!.split(';')[0]! };
});
afterAll(() => here.close());

const target = { name: 'x', tool_port: 1, host: '10.0.0.5', port: 80 };

describe('a stranger and a user', () => {
  it.each([
    ['host', { host: '10.0.0.5' }],
    ['port', { port: 5432 }],
    ['protocol', { protocol: 'gopher' }],
    ['header', { requires_path_in_header_named: 'X-Path' }],
    ['info', { info: { a: 1 } }],
  ])('set no %s of an entry point of their own, and the map stays empty', async (_, fields) => {
    for (const ask of [{ headers: stranger }, { as: 'alice' as const }]) {
      expect((await rest('POST', url, { ...ask, body: { name: 'x', ...fields } })).body.err_code).toBe(
        403006,
      );
      const { id } = (await rest('POST', url, { ...ask, body: { name: 'x' } })).body;
      expect((await rest('PUT', `${url}/${id}`, { ...ask, body: fields })).body.err_code).toBe(403006);
    }
    expect(await readMap(here)).toEqual([]);
  });
});

describe('an administrator', () => {
  it.each([
    '169.254.169.254',
    '0xa9fea9fe',
    '2852039166',
    '169.254.43518',
    '[::ffff:169.254.169.254]',
    '::ffff:a9fe:a9fe',
    'fe80::1',
    '[fd00:ec2::254]',
    '0.0.0.0',
    '224.0.0.1',
    'metadata.google.internal',
    'METADATA.google.internal.',
    'a\r\nb',
    'user@host',
    'host/path',
  ])('may not lead one to %j', async (host) => {
    const answer = await rest('POST', url, { as: 'admin', body: { ...target, host } });
    expect(answer).toMatchObject({ status: 400, body: { err_code: 400008 } });
  });

  it.each(['A: b\r\nX-Evil: 1', 'A B', 'A:', '', 'A\0'])('gives no header the name %j', async (name) => {
    const body = { ...target, requires_path_in_header_named: name };
    expect((await rest('POST', url, { as: 'admin', body })).status).toBe(400);
  });

  it.each(['lab\r\nX: 1', 'a b', 'a\0'])('gives no URL the end %j', async (entry_url) => {
    expect((await rest('POST', url, { as: 'admin', body: { ...target, entry_url } })).status).toBe(400);
  });

  it.each(['169.254.7.9', 'metadata', 'localhost', '127.0.0.1', 'node-17', '[2001:db8::1]'])(
    'leads one to %s',
    async (host) => {
      const made = await rest('POST', url, { as: 'admin', body: { ...target, host } });
      expect(made).toMatchObject({ status: 200, body: { active: true } });
      await rest('DELETE', `${url}/${made.body.id}`, { as: 'admin' });
    },
  );
});

it('the tool runner leads one for a stranger, with the bootstrap key', async () => {
  const { id } = (await rest('POST', url, { headers: stranger, body: { name: 'x' } })).body;
  expect((await rest('PUT', `${url}/${id}`, { ...BOOTSTRAP, body: target })).body.active).toBe(true);
  expect(await readMap(here)).toMatchObject([{ key: id, host: '10.0.0.5', port: 80 }]);
});

it('whatever a process makes is its own account’s alone, the socket as socket_mode says', async () => {
  const other = Installation.embedded();
  try {
    const service = other.process(['serve', '--demo'], {
      ...EVERYTHING,
      sse: { listen: `unix:${other.folder}/lightcone.sock`, socket_mode: '0600' },
    });
    await service.line('ready');
    const made = readdirSync(other.folder).filter((name) => !name.endsWith('.yml'));
    expect(made).toEqual(expect.arrayContaining(['lightcone.sock', 'lightcone.sqlite', 'map.sqlite']));
    expect(made.length).toBeGreaterThan(4);
    const modes = made.map((name) => [name, (statSync(join(other.folder, name)).mode & 0o777).toString(8)]);
    expect(modes).toEqual(made.map((name) => [name, '600']));
  } finally {
    await other.close();
  }
});
