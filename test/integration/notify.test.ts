/** `lightcone notify`: another process than the worker that holds the open tabs. */
import { afterEach, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';

const WITH_NOTIFICATIONS = { galaxy: { enable_notification_system: true } };
let here: Installation;
afterEach(() => here.close());

async function notify(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const process = here.process(['notify', ...args], WITH_NOTIFICATIONS);
  const { code } = await process.exited;
  return { code, stdout: process.stdout, stderr: process.stderr };
}

describe('a broadcast from the command line', () => {
  it('reaches every open tab of the embedded default within 0.2 s of its commit', async () => {
    here = Installation.embedded();
    const { url } = await here.worker(WITH_NOTIFICATIONS);
    const [ofAlice, ofNobody] = await Promise.all([here.stream(url), here.stream(url, '')]);
    const { code, stdout } = await notify('--broadcast', 'Maintenance', 'at *noon*');
    expect([code, stdout]).toEqual([0, expect.stringContaining('delivers it to open tabs')]);
    for (const stream of [ofAlice, ofNobody]) {
      // The process that stored it needed longer to end than this.
      const frame = await stream.waitFor((it) => it.event === 'broadcast_update', { within: 200 });
      expect(JSON.parse(frame.data!)).toMatchObject({
        category: 'broadcast',
        content: { subject: 'Maintenance', message: 'at *noon*' },
      });
    }
    expect(await here.sql('SELECT id FROM lightcone_outbox')).toEqual([]);
  });

  it('reaches open tabs within a second on PostgreSQL without a broker, as it says', async () => {
    here = await Installation.production();
    const alone = { galaxy: { ...WITH_NOTIFICATIONS.galaxy, amqp_internal_connection: null } };
    const { url } = await here.worker(alone);
    const stream = await here.stream(url, '');
    const process = here.process(['notify', '--broadcast', 'Maintenance', 'at *noon*'], alone);
    await process.exited;
    expect(process.stdout).toContain('delivers it to open tabs');
    await stream.waitFor((it) => it.event === 'broadcast_update', { within: 1_000 });
    expect(await here.sql('SELECT id FROM lightcone_outbox')).toEqual([]);
  });

  it('waits in the database while nothing runs, and is told once something does', async () => {
    here = Installation.embedded();
    const first = await here.worker(WITH_NOTIFICATIONS);
    await first.stop();
    await notify('--broadcast', 'Hi', 'all');
    expect(await here.sql('SELECT id FROM lightcone_outbox')).toHaveLength(1);
    await here.worker(WITH_NOTIFICATIONS);
    await expect.poll(() => here.sql('SELECT id FROM lightcone_outbox')).toEqual([]);
  });

  it('reaches open tabs through the broker, and leaves nothing behind', async () => {
    here = await Installation.production();
    const { url } = await here.worker(WITH_NOTIFICATIONS);
    const stream = await here.stream(url, '');
    expect((await notify('--broadcast', 'Hi', 'all')).stdout).toBe('sent\n');
    await stream.waitFor((it) => it.event === 'broadcast_update', { within: 1_000 });
    expect(await here.sql('SELECT id FROM lightcone_outbox')).toEqual([]);
  });
});

describe('a message to a user', () => {
  it('reaches this user only', async () => {
    here = Installation.embedded();
    const { url } = await here.worker(WITH_NOTIFICATIONS);
    const [ofAlice, ofBob] = await Promise.all([here.stream(url), here.stream(url, 'key=demo-bob')]);
    await notify('--user', 'Alice@example.org', 'Hi', 'Alice');
    await notify('--user', 'bob@example.org', 'Hi', 'Bob');
    await ofBob.waitFor((it) => it.event === 'notification_update', { within: 1_000 });
    const told = [ofAlice, ofBob].map((it) =>
      it.events('notification_update').map((frame) => JSON.parse(frame.data!).content.message),
    );
    expect(told).toEqual([['Alice'], ['Bob']]);
  });

  it('is refused when the user has switched messages off', async () => {
    here = Installation.embedded();
    const { url } = await here.worker(WITH_NOTIFICATIONS);
    const off = { message: { enabled: false, channels: { push: false, email: false } } };
    const choice = await fetch(`${url}/api/notifications/preferences?key=demo-alice`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ preferences: off }),
    });
    expect(choice.status).toBe(200);
    const { code, stderr } = await notify('--user', 'alice@example.org', 'Hi', 'Alice');
    expect([code, stderr]).toEqual([
      1,
      'lightcone: alice@example.org has disabled messages; nothing was sent\n',
    ]);
  });
});
