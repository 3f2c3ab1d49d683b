/** The two flags, and the polling client's requests with each of their combinations. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import type { Installation } from '../support/installation.js';
import { EVERYTHING, INSTALLATIONS, type Rest, restOf } from '../support/rest.js';

const COMBINATIONS = [
  [true, true],
  [true, false],
  [false, true],
  [false, false],
] as const;

describe.each(INSTALLATIONS)('on %s', (_, install) => {
  let here: Installation;
  const mine: Installation[] = [];
  afterEach(() => mine.pop()?.close());
  const installed = async () => {
    here = await install();
    mine.push(here);
    return here;
  };

  describe.each(COMBINATIONS)(
    'with enable_sse_updates %s and enable_notification_system %s',
    (sse, notifications) => {
      const start = async (on: Installation) => {
        const galaxy = {
          ...EVERYTHING.galaxy,
          enable_sse_updates: sse,
          enable_notification_system: notifications,
        };
        const { url } = await on.worker({ galaxy }, { waitUntilReady: sse });
        const rest = restOf(url);
        await eventually(async () => (await fetch(`${url}/readyz`)).ok, { what: 'readyz' });
        return { url, rest };
      };

      it('the client is told which way to take, and that way works', async () => {
        const { url, rest } = await start(await installed());
        const as = 'alice';
        expect((await rest('GET', '/api/configuration')).body).toMatchObject({
          enable_sse_updates: sse,
          enable_notification_system: notifications,
        });

        // The poll of 3 s.
        const current = () => rest('GET', '/history/current_history_json', { as });
        const first = (await current()).body;
        const poll = async (since: string) => {
          const answer = await rest('GET', `/history/current_history_json?since=${since}`, { as });
          expect(answer.status).toBe(200);
          return answer.body;
        };
        expect(await poll(first.update_time)).toBeNull();
        const contents = `/api/histories/${first.id}/contents`;
        await rest('POST', contents, { as, body: { name: 'new' } });
        const changed = await poll(first.update_time);
        expect(changed.update_time > first.update_time).toBe(true);
        const delta = await rest(
          'GET',
          `${contents}?v=dev&limit=1000&q=update_time-ge&qv=${first.update_time}Z`,
          { as },
        );
        expect(delta.body).toMatchObject([{ name: 'new' }]);
        expect(await poll(changed.update_time)).toBeNull();

        // The poll of 10 s.
        expect((await rest('GET', '/api/entry_points?running=true', { as })).body).toEqual([]);
        await rest('POST', '/api/entry_points', { as, body: { name: 'Jupyter' } });
        expect((await rest('GET', '/api/entry_points?running=true', { as })).body).toHaveLength(1);

        // The poll of 30 s.
        const broadcast = { source: 'admin', variant: 'info', content: { subject: 's', message: 'm' } };
        const said = await rest('POST', '/api/notifications/broadcast', { as: 'admin', body: broadcast });
        const status = await rest('GET', `/api/notifications/status?since=${first.create_time}`, { as });
        if (notifications) {
          expect([said.status, status.status]).toEqual([200, 200]);
          expect(status.body.broadcasts).toHaveLength(1);
        } else {
          for (const { status: http, body } of [said, status]) {
            expect([http, body.err_code]).toEqual([403, 403004]);
          }
        }

        // The other way.
        if (sse) {
          const stream = await here.stream(url);
          await rest('POST', contents, { as, body: { name: 'another' } });
          await stream.waitForHistory(first.id, { within: 5_000 });
        } else {
          const answer = await rest('GET', '/api/events/stream', { as });
          expect([answer.status, answer.body.err_code]).toEqual([403, 403004]);
          expect(await here.sql('SELECT id FROM lightcone_outbox')).toEqual([]);
          expect(await here.sql('SELECT id FROM worker_process')).toEqual([]);
        }
      });

      const whereOff = () => {
        let all: Installation;
        let rest: Rest;
        beforeAll(async () => {
          all = await install();
          ({ rest } = await start(all));
        });
        afterAll(() => all.close());

        it.each([
          ['GET', ''],
          ['PUT', ''],
          ['DELETE', ''],
          ['POST', ''],
          ['GET', '/status?since=2026-01-01'],
          ['GET', '/broadcast'],
          ['POST', '/broadcast'],
          ['GET', '/broadcast/f2db41e1fa331b3e'],
          ['PUT', '/broadcast/f2db41e1fa331b3e'],
          ['GET', '/preferences'],
          ['PUT', '/preferences'],
          ['GET', '/f2db41e1fa331b3e'],
          ['PUT', '/f2db41e1fa331b3e'],
          ['DELETE', '/f2db41e1fa331b3e'],
        ])('%s /api/notifications%s answers that it is switched off', async (method, path) => {
          expect(await rest(method, `/api/notifications${path}`, { as: 'admin' })).toMatchObject({
            status: 403,
            body: { err_code: 403004 },
          });
        });
      };
      if (!notifications) describe('notifications', whereOff);
    },
  );

  it('without interactive tools their routes answer that they are switched off', async () => {
    await installed();
    const rest = restOf((await here.worker()).url);
    for (const [method, path] of [
      ['GET', '?running=true'],
      ['POST', ''],
      ['PUT', '/3oyclc8jlv7zy'],
      ['DELETE', '/3oyclc8jlv7zy'],
      ['GET', '/3oyclc8jlv7zy/access'],
    ] as const) {
      expect((await rest(method, `/api/entry_points${path}`, { as: 'alice' })).body.err_code).toBe(403004);
    }
  });

  it('who asks too often is told when to come back, but not on the stream', async () => {
    await installed();
    const { url } = await here.worker({ sse: { api_rate_limit: 1 } });
    const rest = restOf(url);
    const answers = [];
    for (let i = 0; i < 12; i += 1) answers.push(await rest('GET', '/api/histories', { as: 'alice' }));
    const last = answers.at(-1)!;
    expect(last).toMatchObject({ status: 429, body: { err_code: 429001 } });
    expect(Number(last.headers.get('retry-after'))).toBe(1);
    expect((await rest('GET', '/api/histories', { as: 'bob' })).status).toBe(200);
    expect((await rest('GET', '/healthz')).status).toBe(200);
    await here.stream(url);
    expect(
      await rest('POST', '/api/histories', { as: 'bob', body: { name: 'x'.repeat(1_100_000) } }),
    ).toMatchObject({ status: 413, body: { err_code: 400008 } });
  });
});
