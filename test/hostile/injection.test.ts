/** CR, LF and NUL in what comes in shape no frame, header, log line, metric or statement. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { eventually } from '../support/eventually.js';
import { DEMO, Installation } from '../support/installation.js';
import { rawConnection } from '../support/raw-http.js';
import { EVERYTHING, INSTALLATIONS, type Rest, restOf } from '../support/rest.js';

const EVIL = 'a\r\n\r\nevent: injected\ndata: x\n\nid: 1\u2028\u2029\rdata: y\n\n: z';

describe.each(INSTALLATIONS)('on %s', (_, install) => {
  let here: Installation;
  let url: string;
  let rest: Rest;
  beforeAll(async () => {
    here = await install();
    url = (await here.worker(EVERYTHING)).url;
    rest = restOf(url);
  });
  afterAll(() => here.close());

  it('a notification with lines in it is one frame, and says what was said', async () => {
    const stream = await here.stream(url, 'key=demo-bob');
    const notification = {
      source: 'a\r\nb',
      variant: 'info',
      category: 'message',
      content: { category: 'message', subject: EVIL, message: EVIL },
    };
    const recipients = { user_ids: [here.encode(DEMO.users.bob)], group_ids: [], role_ids: [] };
    const sent = await rest('POST', '/api/notifications', {
      as: 'admin',
      body: { recipients, notification },
    });
    expect(sent.status).toBe(200);
    const frame = await stream.waitFor(({ event }) => event === 'notification_update');
    expect(JSON.parse(frame.data!)).toMatchObject({ source: 'a\r\nb', content: { subject: EVIL } });
    expect(stream.frames.map(({ event }) => event)).not.toContain('injected');
  });

  it.each([
    ['POST', '/api/histories', { name: 'a\0b' }],
    ['POST', '/api/login', { login: 'alice\0@example.org', password: 'x\0' }],
    [
      'PUT',
      '/api/notifications/preferences',
      { preferences: { 'message\0': { enabled: true, channels: {} } } },
    ],
    ['POST', '/api/events/history-subscriptions', { history_ids: ['\0'] }],
    ['POST', '/api/entry_points', { name: 'a\0' }],
  ])('NUL is refused or harmless (%s %s)', async (method, path, body) => {
    expect((await rest(method, path, { as: 'alice', body })).status).toBeLessThan(500);
  });

  it.each([
    "/api/histories?keys=a%00%0d%0a'--",
    '/api/notifications?limit=1%27;drop%20table%20history',
    '/api/entry_points?running=true&job_id=%00',
    '/api/histories/%00',
    '/api/configuration?keys=%0d%0aSet-Cookie:%20a=b',
    '/api/events/stream?history_id=%00%0d%0a',
    '/%0d%0aX-Injected:%20yes',
    '/api/histories/published?limit=%0d%0aX-Injected:%20yes',
  ])('%s shapes no answer', async (path) => {
    const connection = rawConnection(
      url,
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: demo-alice\r\nConnection: close\r\n\r\n`,
    );
    const text = await connection.until(({ closed }) => closed);
    const [head] = text.split('\r\n\r\n', 1);
    expect(head).toMatch(/^HTTP\/1\.1 [24]\d\d /);
    expect(head!.toLowerCase()).not.toMatch(/x-injected|set-cookie/);
    expect((await here.sql<{ n: number }>('SELECT count(*) AS n FROM history'))[0]!.n).toBeGreaterThan(0);
  });

  it('a name in a row that another program wrote shapes no metric and no frame', async () => {
    const stream = await here.stream(url, 'key=demo-alice');
    await here.sql(
      `UPDATE history SET name = 'a' || char(10) || 'event: injected' WHERE id = 1`.replace(
        'char(10)',
        here.kind === 'sqlite' ? 'char(10)' : 'chr(10)',
      ),
    );
    await stream.waitForHistory(here.encode(DEMO.histories.alice));
    expect(stream.frames.map(({ event }) => event)).not.toContain('injected');
    const metrics = (await rest('GET', '/metrics')).body as string;
    expect(metrics.split('\n').filter((line) => !/^(#|[a-z_]+(\{[^\n]*\})? \S+$|$)/.test(line))).toEqual([]);
  });
});

it('lightcone tail shows a subject on one line, and it steers no terminal', async () => {
  const here = Installation.embedded();
  try {
    const { worker } = await here.worker(EVERYTHING);
    const port = new URL(worker.address).port;
    const tail = here.process(['tail', '--user', 'bob@example.org'], {
      ...EVERYTHING,
      sse: { listen: `127.0.0.1:${port}` },
    });
    await eventually(() => tail.stdout.includes('ready'), { within: 10_000, what: 'a stream' });
    const content = { category: 'message', subject: 'a\n00:00:00 forged\r\x1b]0;x\x07\x9b2J', message: 'm' };
    const recipients = { user_ids: [here.encode(DEMO.users.bob)], group_ids: [], role_ids: [] };
    await restOf(worker.address)('POST', '/api/notifications', {
      as: 'admin',
      body: { recipients, notification: { source: 's', variant: 'info', category: 'message', content } },
    });
    await eventually(() => tail.stdout.includes('forged'));
    const line = tail.stdout.split('\n').find((it) => it.includes('forged'));
    expect(line).toContain('message: a 00:00:00 forged\\u000d\\u001b]0;x\\u0007\\u009b2J');
    expect(tail.stdout).not.toMatch(/(?!\n)\p{Cc}/u);
    await tail.stop();
  } finally {
    await here.close();
  }
});

describe('a setting that would shape a header or a metric is refused', () => {
  it.each([
    ['galaxy', 'cookie_domain', 'example.org\r\nX-Injected: yes'],
    ['galaxy', 'cookie_domain', 'example.org; Secure'],
    ['galaxy', 'cookie_path', '/a\nb'],
    ['galaxy', 'statsd_prefix', 'a:1|c\nb'],
    ['galaxy', 'server_name', 'a\nb'],
    ['galaxy', 'galaxy_url_prefix', '/a\r\nb'],
    ['sse', 'trust_proxy', '10.0.0.1\n'],
    ['sse', 'allowed_origins', 'https://a\r\nb'],
  ])('%s: %s: %j', (section, key, value) => {
    const name = section === 'sse' ? `LIGHTCONE_${key}` : `GALAXY_CONFIG_OVERRIDE_${key}`;
    const load = () => loadConfig({ env: { [name.toUpperCase()]: value }, flags: { sse: {} }, cwd: '/' });
    if (key === 'trust_proxy') expect(load().http.trustProxy).toEqual(['10.0.0.1']);
    else expect(load).toThrow(key.toUpperCase());
  });
});
