import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { freePort } from '../support/free-port.js';
import { DEMO, Installation, type Settings } from '../support/installation.js';
import { readiness } from '../support/processes.js';
import { broadcastBody, publishRaw } from '../support/publish.js';
import { SseClient } from '../support/sse-client.js';

let here: Installation;
afterEach(() => here.close());

const PASSWORD = 'hunter2';

describe('a neighbour that cannot be reached', () => {
  it.each([
    ['database', 'database_connection', `postgresql://u:${PASSWORD}@127.0.0.1:PORT/d`],
    ['broker', 'amqp_internal_connection', `amqp://u:${PASSWORD}@127.0.0.1:PORT//`],
  ])('(%s) is waited for; /readyz and the log say where, without the password', async (_name, key, url) => {
    here = Installation.embedded();
    const [port, nobody] = [await freePort(), await freePort()];
    const service = here.process(['serve'], {
      galaxy: { [key]: url.replace('PORT', String(nobody)) },
      sse: { listen: `127.0.0.1:${port}` },
    });
    const base = `http://127.0.0.1:${port}`;
    const problem = await eventually(
      async () => (await readiness(base)).problems.find((it) => it.includes(`127.0.0.1:${nobody}`)),
      { within: 10_000, what: 'the problem in /readyz' },
    );
    expect(problem).toContain('ECONNREFUSED');
    expect(await readiness(base)).toMatchObject({ status: 503, ready: false });
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
    const line = await service.seen(
      () => service.lines.find((it) => Number(it.level) >= 40 && JSON.stringify(it).includes(String(nobody))),
      'a warning',
    );
    expect(line.msg).not.toBe('');
    // A browser that asks now comes back later, instead of giving up.
    const stream = await SseClient.open(`${base}/api/events/stream?key=demo-alice`);
    await stream.ended();
    expect(stream.status).toBe(200);
    expect(stream.frames).toMatchObject([
      { comments: ['this worker is starting: it waits for its database or its broker'], retry: 3000 },
    ]);
    expect(service.stdout + service.stderr).not.toContain(PASSWORD);
    expect(service.running).toBe(true);
  });
});

describe('a start that can never work ends with 2 and one line', () => {
  const refusal = async (args: string[], settings: Settings): Promise<string> => {
    const service = here.process(args, settings);
    const { code } = await service.exited;
    expect([code, service.stderr]).toEqual([2, service.stderr]);
    return service.stderr
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('{'))
      .join('\n');
  };

  it('a settings file that is not YAML', async () => {
    here = Installation.embedded();
    const file = join(here.folder, 'broken.yml');
    writeFileSync(file, 'galaxy:\n  enable_sse_updates: [true\n');
    const service = here.processOf(['serve', '-c', file]);
    expect((await service.exited).code).toBe(2);
    expect(service.stderr).toContain('broken.yml');
    expect(service.stderr).not.toContain('    at ');
  });

  it('a socket path where a file or a folder is, which stays as it is', async () => {
    here = Installation.embedded();
    const file = join(here.folder, 'thesis.txt');
    writeFileSync(file, 'three years of work');
    const folder = join(here.folder, 'folder');
    mkdirSync(folder);
    for (const path of [file, folder]) {
      expect(await refusal(['serve'], { sse: { listen: `unix:${path}` } })).toContain(
        `cannot listen on unix:${path}: the file there is not a socket`,
      );
    }
    expect(readFileSync(file, 'utf8')).toBe('three years of work');
  });

  it('demo data on an address that others reach', async () => {
    here = Installation.embedded();
    expect(await refusal(['serve', '--demo'], { sse: { listen: '0.0.0.0:0' } })).toContain(
      '--demo: its API keys are public',
    );
  });

  it('a place beside a Galaxy without its broker', async () => {
    here = await Installation.production();
    const text = await refusal(['serve'], {
      galaxy: { amqp_internal_connection: undefined },
      sse: { attach_to_galaxy: true },
    });
    expect(text).toContain('amqp_internal_connection');
  });

  it('several workers without a broker', async () => {
    here = Installation.embedded();
    expect(await refusal(['serve', '--workers', '2'], {})).toContain('amqp_internal_connection');
  });

  it('a broker URL of a kind that Lightcone does not speak', async () => {
    here = Installation.embedded();
    const text = await refusal(['serve'], {
      galaxy: { amqp_internal_connection: 'sqlalchemy+sqlite:///control.sqlite' },
    });
    expect(text).toMatch(/amqp_internal_connection: .*(RabbitMQ|amqp:\/\/)/);
  });

  it('a monitor where updates are switched off', async () => {
    here = await Installation.production();
    expect(await refusal(['monitor'], { galaxy: { enable_sse_updates: false } })).toContain(
      'enable_sse_updates is false, so a monitor has nothing to do',
    );
  });
});

describe('garbage on the exchange', () => {
  it('is acknowledged, counted, logged once, and changes nothing', async () => {
    here = await Installation.production();
    const { url, lines } = await here.worker();
    const stream = await here.stream(url);
    const garbage = [
      'not json',
      '[]',
      '{"task":"history_update","kwargs":{"user_updates":{"x":[1]}}}',
      '{"task":"rm -rf","kwargs":{}}',
      Buffer.from([0xff, 0xfe, 0x00]),
      '{"task":"notify_users","kwargs":{"user_ids":"all","payload":"{}"}}',
    ];
    await publishRaw(here.vhost!.amqpUrl, [...garbage, ...garbage, broadcastBody({ after: 'garbage' })]);
    const frame = await stream.waitFor(({ event }) => event === 'broadcast_update');
    expect(JSON.parse(frame.data!)).toEqual({ after: 'garbage' });
    expect(stream.events('broadcast_update')).toHaveLength(1);
    expect(stream.events('notification_update')).toHaveLength(0);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const counted = [...metrics.matchAll(/tasks_invalid[^\n]* (\d+)$/gm)].map((match) => Number(match[1]));
    expect(counted.reduce((sum, n) => sum + n, 0)).toBe(2 * garbage.length);
    // Once a minute per reason, however many come.
    const logged = lines.filter((line) => JSON.stringify(line).includes('not_json'));
    expect(logged).toHaveLength(1);
    await expect.poll(async () => (await here.vhost!.queues()).length).toBe(1);
    await here.change(DEMO.histories.alice);
    await stream.waitForHistory(here.encode(DEMO.histories.alice));
  });

  it('in a payload cannot end its frame or begin a field of its own', async () => {
    here = await Installation.production();
    const { url } = await here.worker();
    const stream = await here.stream(url);
    const payload = '{"a":1}\n\nevent: history_update\r\ndata: forged\rid: 2999-01-01T00:00:00';
    await publishRaw(here.vhost!.amqpUrl, [
      JSON.stringify({ task: 'notify_broadcast', kwargs: { payload } }),
      broadcastBody({ after: 'forgery' }),
    ]);
    await stream.waitFor((frame) => frame.data?.includes('after') === true);
    const [forged] = stream.events('broadcast_update');
    expect(forged?.data).toBe(payload.replaceAll('\r\n', '\n').replaceAll('\r', '\n'));
    expect(stream.events('history_update').some((frame) => frame.data === 'forged')).toBe(false);
    expect(stream.lastEventId).not.toContain('2999');
  });
});

describe('real-time updates that are switched off', () => {
  it('are refused with 403 and err_code 403004, and nobody watches the database', async () => {
    here = Installation.embedded();
    const { url, worker } = await here.worker(
      { galaxy: { enable_sse_updates: false } },
      { waitUntilReady: false },
    );
    await eventually(async () => (await fetch(`${url}/readyz`)).ok, { what: 'readiness' });
    expect((await readiness(url)).problems).toEqual([
      'enable_sse_updates is off: the stream answers 403, and no tab receives changes',
    ]);
    const response = await fetch(`${url}/api/events/stream?key=demo-alice`);
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ err_code: 403004 });
    expect(worker.leading).toBe(false);
    expect(await here.sql('SELECT server_name FROM worker_process')).toEqual([]);
  });
});
