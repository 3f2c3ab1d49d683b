/** What the API changes is told to open tabs: after the commit, once, when it is due, and whatever failed in between. */
import { afterEach, describe, expect, it } from 'vitest';
import { amqpBus } from '../support/bus.js';
import { DEMO, Installation } from '../support/installation.js';
import { EVERYTHING, INSTALLATIONS, type Rest, restOf } from '../support/rest.js';
import type { SseClient, SseFrame } from '../support/sse-client.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const message = {
  source: 'admin',
  category: 'message',
  variant: 'info',
  content: { subject: 'Hello', message: 'text' },
};
const broadcast = { source: 'admin', variant: 'info', content: { subject: 'All', message: 'text' } };
const list = '/api/notifications';

let here: Installation;
afterEach(() => here.close());

const sendToAlice = (rest: Rest, more: object = {}) =>
  rest('POST', list, {
    as: 'admin',
    body: {
      recipients: { user_ids: [here.encode(DEMO.users.alice)] },
      notification: { ...message, ...more },
    },
  });
const idOf = (frame: SseFrame): string => JSON.parse(frame.data!).id;
const isOf =
  (kind: string, id?: string) =>
  (frame: SseFrame): boolean =>
    frame.event === kind && (id === undefined || idOf(frame) === id);
const waiting = () => here.sql('SELECT id FROM lightcone_outbox');

/** What comes on the same stream after this was published after it. */
async function everythingBefore(rest: Rest, stream: SseClient): Promise<SseFrame[]> {
  const { body } = await rest('POST', `${list}/broadcast`, { as: 'admin', body: broadcast });
  const fence = await stream.waitFor(isOf('broadcast_update', body.notification.id));
  return stream.frames.slice(0, stream.frames.indexOf(fence));
}

describe.each(INSTALLATIONS)('on %s', (_, install) => {
  const start = async () => {
    here = await install();
    const { url } = await here.worker(EVERYTHING);
    return { url, rest: restOf(url), stream: await here.stream(url) };
  };

  it('a notification is pushed in the form in which it is stored, and leaves nothing in the outbox', async () => {
    const { rest, stream } = await start();
    const { notification } = (await sendToAlice(rest)).body;
    const frame = await stream.waitFor(isOf('notification_update'));
    expect(JSON.parse(frame.data!)).toEqual(notification);
    await expect.poll(waiting).toEqual([]);
  });

  it('what is marked as seen or deleted in one tab reaches the other tabs of the user', async () => {
    const { rest, stream } = await start();
    const { id } = (await sendToAlice(rest)).body.notification;
    await rest('PUT', `${list}/${id}`, { as: 'alice', body: { seen: true } });
    const seen = await stream.waitFor(
      (it) => isOf('notification_update', id)(it) && 'seen_time' in JSON.parse(it.data!),
    );
    expect(JSON.parse(seen.data!)).toMatchObject({ seen_time: expect.any(String), deleted: false });
    await rest('DELETE', list, { as: 'alice', body: { notification_ids: [id] } });
    await stream.waitFor(
      (it) => isOf('notification_update', id)(it) && JSON.parse(it.data!).deleted === true,
    );
  });

  it('who opted out of the category or its push channel hears nothing, unless it is urgent', async () => {
    const { rest, stream } = await start();
    const choose = (preference: object) =>
      rest('PUT', `${list}/preferences`, { as: 'alice', body: { preferences: { message: preference } } });
    await choose({ enabled: false, channels: { push: true, email: true } });
    await sendToAlice(rest);
    await choose({ enabled: true, channels: { push: false, email: true } });
    await sendToAlice(rest);
    expect((await everythingBefore(rest, stream)).filter(isOf('notification_update'))).toEqual([]);
    const urgent = (await sendToAlice(rest, { variant: 'urgent' })).body.notification;
    await stream.waitFor(isOf('notification_update', urgent.id));
  });

  it('a transaction that is rolled back is told to nobody', async () => {
    const { rest, stream } = await start();
    await here.sql(
      here.kind === 'sqlite'
        ? "CREATE TRIGGER refuse AFTER INSERT ON lightcone_outbox BEGIN SELECT RAISE(ABORT, 'refused'); END"
        : `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END';
           CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON lightcone_outbox DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION refuse()`,
    );
    expect((await sendToAlice(rest)).body.err_code).toBe(500001);
    const tool = await rest('POST', '/api/entry_points', {
      as: 'admin',
      body: { name: 'x', host: 'h', port: 1 },
    });
    expect(tool.status).toBe(500);
    await here.sql(
      here.kind === 'sqlite' ? 'DROP TRIGGER refuse' : 'DROP TRIGGER refuse ON lightcone_outbox',
    );
    const frames = await everythingBefore(rest, stream);
    expect(
      frames.filter(({ event }) => event === 'notification_update' || event === 'entry_point_update'),
    ).toEqual([]);
    expect(await here.sql('SELECT id FROM interactivetool_entry_point')).toEqual([]);
  });

  it('what is scheduled is told when it is due, not before, and an edit moves it', async () => {
    const { rest, stream } = await start();
    const due = Date.now() + 1_500;
    const at = (moment: number) => new Date(moment).toISOString();
    const { id } = (await sendToAlice(rest, { publication_time: at(due) })).body.notification;
    const moved = await rest('POST', `${list}/broadcast`, {
      as: 'admin',
      body: { ...broadcast, publication_time: at(due) },
    });
    const path = `${list}/broadcast/${moved.body.notification.id}`;
    await rest('PUT', path, { as: 'admin', body: { publication_time: at(due + 1_000) } });
    await stream.waitFor(isOf('notification_update', id));
    expect(Date.now()).toBeGreaterThanOrEqual(due - 1);
    await stream.waitFor(isOf('broadcast_update', moved.body.notification.id));
    expect(Date.now()).toBeGreaterThanOrEqual(due + 999);
    expect(stream.events('notification_update')).toHaveLength(1);
    expect(stream.events('broadcast_update')).toHaveLength(1);
  });

  it('an edited broadcast is told again', async () => {
    const { rest, stream } = await start();
    const { id } = (await rest('POST', `${list}/broadcast`, { as: 'admin', body: broadcast })).body
      .notification;
    await rest('PUT', `${list}/broadcast/${id}`, { as: 'admin', body: { variant: 'urgent' } });
    await stream.waitFor(
      (it) => isOf('broadcast_update', id)(it) && JSON.parse(it.data!).variant === 'urgent',
    );
  });

  it('each change of an entry point wakes its owner, also one without a login', async () => {
    const { url, rest, stream } = await start();
    const headers = await here.cookieOf(DEMO.anonymousSession);
    const visitor = await here.stream(url, '', { headers });
    for (const [ask, tab] of [
      [{ as: 'alice' }, stream],
      [{ headers }, visitor],
    ] as const) {
      let from = tab.frames.length;
      const woken = async () => {
        const frame = await tab.waitFor(isOf('entry_point_update'), { from }).catch(() => undefined);
        if (frame) from = tab.frames.indexOf(frame) + 1;
        return frame?.data;
      };
      const { id } = (await rest('POST', '/api/entry_points', { ...ask, body: { name: 'x' } })).body;
      expect(await woken()).toBe('{}');
      await rest('PUT', `/api/entry_points/${id}`, { as: 'admin', body: { host: 'h', port: 1 } });
      expect(await woken()).toBe('{}');
      await rest('DELETE', `/api/entry_points/${id}`, ask);
      expect(await woken()).toBe('{}');
    }
  });
});

describe('with a broker that is away', () => {
  it('what is created meanwhile arrives when it is back', async () => {
    here = await Installation.production();
    const proxy = await TcpProxy.to(here.vhost!.amqpUrl);
    try {
      const amqp_internal_connection = proxy.through(here.vhost!.amqpUrl);
      const { url, worker } = await here.worker({
        galaxy: { ...EVERYTHING.galaxy, amqp_internal_connection },
      });
      const rest = restOf(url);
      const stream = await here.stream(url);
      await proxy.refuse();
      proxy.cut();
      await expect.poll(() => worker.bus.available).toBe(false);
      const answer = await sendToAlice(rest);
      expect(answer.status).toBe(200);
      await rest('POST', '/api/entry_points', { as: 'alice', body: { name: 'x' } });
      expect(await waiting()).toHaveLength(2);
      await proxy.resume();
      await stream.waitFor(isOf('notification_update', answer.body.notification.id), { within: 15_000 });
      await stream.waitFor(isOf('entry_point_update'), { within: 15_000 });
      await expect.poll(waiting, { timeout: 15_000 }).toEqual([]);
    } finally {
      await proxy.close();
    }
  });
});

describe('with several processes', () => {
  it('a scheduled notification that is due during a takeover is delivered once', async () => {
    here = await Installation.production();
    const first = here.process(['serve', '--demo'], EVERYTHING);
    await first.line('leading: this process is the monitor');
    const second = here.process(['serve'], EVERYTHING);
    const rest = restOf(await first.address());
    const other = await second.address();
    await second.ready(other);
    const stream = await here.stream(other);
    const due = Date.now() + 2_000;
    const { id } = (await sendToAlice(rest, { publication_time: new Date(due).toISOString() })).body
      .notification;
    // Told by the process that leads and made it; a second one by the process that only follows.
    const { id: ofFollower } = (
      await sendToAlice(restOf(other), { publication_time: new Date(due).toISOString() })
    ).body.notification;
    await expect.poll(() => Date.now(), { timeout: 5_000, interval: 10 }).toBeGreaterThan(due - 300);
    first.signal('SIGKILL');
    for (const one of [id, ofFollower]) {
      await stream.waitFor(isOf('notification_update', one), { within: 20_000 });
      expect(Date.now()).toBeGreaterThanOrEqual(due - 1);
    }
    await second.line('leading: this process is the monitor');
    // Whatever a claim that ran out could double is told by now.
    await expect.poll(waiting, { timeout: 20_000 }).toEqual([]);
    await everythingBefore(restOf(other), stream);
    expect(stream.frames.filter(isOf('notification_update')).map(idOf).sort()).toEqual(
      [id, ofFollower].sort(),
    );
  });

  it('ten thousand notifications in one call take less than 2 s, and one control task per 1,000 recipients', async () => {
    here = await Installation.production();
    const { url } = await here.worker(EVERYTHING);
    await here.sql(
      `INSERT INTO galaxy_user (id, email, password, active, deleted)
       SELECT n, 'user' || n || '@example.org', '!', true, false FROM generate_series(1001, 11000) n`,
    );
    const observer = amqpBus(here.vhost!.amqpUrl);
    await observer.bus.start();
    const tasks = () =>
      observer.recorder.received.flatMap((it) =>
        typeof it === 'object' && 'task' in it && it.task === 'notify_users' ? [it.userIds.length] : [],
      );
    try {
      const users = (count: number) => Array.from({ length: count }, (_v, i) => here.encode(1001 + i));
      const send = async (user_ids: string[], notifications: object[]) => {
        const begin = performance.now();
        const answer = await restOf(url)('POST', list, {
          as: 'admin',
          body: { recipients: { user_ids }, notifications },
        });
        const ms = performance.now() - begin;
        expect(answer.body.total_notifications_sent).toBe(10_000);
        expect(ms).toBeLessThan(2_000);
        return Math.round(ms);
      };
      const many = await send(users(1_000), Array(10).fill(message));
      await expect.poll(tasks, { timeout: 5_000 }).toEqual(Array(10).fill(1_000));
      const wide = await send(users(10_000), [message]);
      await expect.poll(tasks, { timeout: 5_000 }).toEqual(Array(20).fill(1_000));
      console.log(`10 notifications to 1,000 users: ${many} ms; one to 10,000 users: ${wide} ms`);
    } finally {
      await observer.bus.stop();
    }
  });
});
