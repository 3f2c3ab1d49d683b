/** Who is really on this machine: what is public there (metrics, problems, the demo's keys) is nobody else's. */
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { startPlainNginx } from '../support/plain-nginx.js';
import { rawConnection } from '../support/raw-http.js';
import { EVERYTHING, restOf } from '../support/rest.js';

let here: Installation;
let url: string;
beforeAll(async () => {
  here = Installation.embedded();
  url = (await here.worker(EVERYTHING)).url;
});
afterAll(() => here.close());

async function ask(path: string, headers: Record<string, string>, host = new URL(url).host): Promise<string> {
  const lines = Object.entries({ Host: host, Connection: 'close', ...headers }).map(
    ([n, v]) => `${n}: ${v}\r\n`,
  );
  return rawConnection(url, `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`).until(({ closed }) => closed);
}
const statusOf = async (...args: Parameters<typeof ask>): Promise<number> =>
  Number((await ask(...args)).slice(9, 12));

describe('/metrics', () => {
  it('is for scrapers on this machine', async () => expect(await statusOf('/metrics', {})).toBe(200));
  it.each([
    ['a foreign name that leads here (DNS rebinding)', {}, 'evil.example.org'],
    ['a foreign name with a port', {}, 'evil.example.org:8080'],
    ['a name that only looks like ours', {}, '127.0.0.1.evil.example.org'],
    ['a proxy here', { 'X-Forwarded-For': '127.0.0.1' }, undefined],
    ['a proxy here that says it otherwise', { 'X-Real-IP': '127.0.0.1' }, undefined],
    ['a proxy here of the standard', { Forwarded: 'for=127.0.0.1' }, undefined],
  ])('is not for %s', async (_, headers, host) => {
    expect(await statusOf('/metrics', headers as Record<string, string>, host)).toBe(403);
  });

  // ngx_http_proxy_module: before 1.29.7 it speaks HTTP/1.0 and names its upstream as the host.
  it('is not for whoever comes through an nginx that only says proxy_pass', async () => {
    const nginx = await startPlainNginx(url);
    try {
      const through = restOf(nginx.url);
      expect((await through('GET', '/metrics')).status).toBe(403);
      expect((await through('GET', '/api/histories', { as: 'alice' })).status).toBe(401);
      expect((await through('GET', '/healthz')).status).toBe(200);
    } finally {
      await nginx.close();
    }
  });
});

describe('the keys of the demo', () => {
  it('hold on this machine, through a proxy on it as well', async () => {
    const key = { 'X-API-Key': 'demo-alice' };
    expect(await statusOf('/api/histories', key)).toBe(200);
    expect(await statusOf('/api/histories', { ...key, 'X-Forwarded-For': '127.0.0.1' })).toBe(200);
    expect(await statusOf('/api/histories', key, 'localhost')).toBe(200);
  });

  it.each([
    ['a page that a foreign name led here', {}, 'evil.example.org'],
    ['a caller elsewhere', { 'X-Forwarded-For': '203.0.113.9' }, undefined],
    ['a caller elsewhere who claims to be here', { 'X-Forwarded-For': '127.0.0.1, 203.0.113.9' }, undefined],
    ['a caller elsewhere, by another header', { 'X-Real-IP': '203.0.113.9' }, undefined],
  ])('are refused to %s', async (_, headers, host) => {
    const key = { 'X-API-Key': 'demo-alice', ...(headers as Record<string, string>) };
    // Remembered by the worker, which changes nothing.
    expect(await statusOf('/api/histories', { 'X-API-Key': 'demo-alice' })).toBe(200);
    expect(await statusOf('/api/histories', key, host)).toBe(401);
    expect(await statusOf('/api/events/stream', key, host)).toBe(401);
    expect(await statusOf('/api/events/stream?key=demo-admin', headers as Record<string, string>, host)).toBe(
      401,
    );
  });

  it('nor is their password taken from there', async () => {
    const body = { login: 'alice@example.org', password: 'demo-alice' };
    const headers = { 'x-forwarded-for': '203.0.113.9' };
    expect((await restOf(url)('POST', '/api/login', { body, headers })).status).toBe(401);
    expect((await restOf(url)('POST', '/api/login', { body })).status).toBe(200);
  });

  it('are refused from another address of this machine, too, when it is served there', async () => {
    const address = Object.values(networkInterfaces())
      .flat()
      .find((it) => it?.family === 'IPv4' && !it.internal)?.address;
    // Without a network there is no elsewhere.
    if (address === undefined) return;
    const other = Installation.embedded();
    try {
      const worker = await other.worker({ sse: { listen: '0.0.0.0:0' } });
      const { port } = new URL(worker.url);
      const rest = restOf(`http://${address}:${port}`);
      expect((await rest('GET', '/api/histories', { as: 'alice' })).status).toBe(401);
      expect((await rest('GET', '/metrics')).status).toBe(403);
    } finally {
      await other.close();
    }
  });
});

it('the default id_secret is refused on an address that others reach', async () => {
  const service = here.process(['serve', '--listen', '0.0.0.0:0'], {
    galaxy: { id_secret: 'USING THE DEFAULT IS NOT SECURE!' },
  });
  await expect.poll(() => service.stderr, { timeout: 20_000 }).toContain('id_secret: the default is public');
  await expect.poll(() => service.running).toBe(false);
});

it('only administrators and callers on this machine see the problems, not to everybody', async () => {
  const other = Installation.embedded();
  try {
    const waiting = await other.worker(
      {
        galaxy: {
          database_connection: 'postgresql://u:pw@127.0.0.1:1/secret-name',
          bootstrap_admin_api_key: 'bootstrap-key',
        },
      },
      { waitUntilReady: false },
    );
    const text = async (headers: Record<string, string>): Promise<string> => {
      const answer = await fetch(`${waiting.url}/readyz`, { headers });
      expect(answer.status).toBe(503);
      return answer.text();
    };
    await expect.poll(() => text({})).toContain('127.0.0.1:1');
    const told = await text({ 'x-forwarded-for': '203.0.113.9' });
    expect(told).not.toContain('127.0.0.1');
    expect(JSON.parse(told)).toMatchObject({ ready: false });
    expect(await text({ 'x-forwarded-for': '203.0.113.9', 'x-api-key': 'bootstrap-key' })).toContain(
      '127.0.0.1:1',
    );
  } finally {
    await other.close();
  }
});
