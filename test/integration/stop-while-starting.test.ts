/** A stop that comes while a start waits for something: a file of its own, because it looks at what the process has open. */
import { type Channel, tracingChannel } from 'node:diagnostics_channel';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createServer, type LightconeError, type LightconeServer } from '../../src/index.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { eventually } from '../support/eventually.js';

const open = (): string[] =>
  process.getActiveResourcesInfo().filter((name) => /Timeout|Server|FSEvent|FSReq/.test(name));

const listening = tracingChannel('net.server.listen').asyncEnd;
const once = (channel: Channel): Promise<void> =>
  new Promise((resolve) => {
    const heard = (): void => {
      channel.unsubscribe(heard);
      resolve();
    };
    channel.subscribe(heard);
  });

it('a server may be stopped at any moment of its start, and leaves nothing open', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lightcone-stop-'));
  const create = (): Promise<LightconeServer> =>
    createServer({
      logger: createLogger('silent'),
      settings: {
        galaxy: {
          database_connection: `sqlite:///${join(folder, 'one')}.sqlite`,
          id_secret: 'the secret of the tests',
        },
        sse: { listen: '127.0.0.1:0' },
      },
    });
  const before = open().length;
  let stoppedInTime = 0;
  for (const comesFirst of [false, true]) {
    for (let steps = 0; steps <= (comesFirst ? 120 : 0); steps += 4) {
      const server = await create();
      const listened = once(listening);
      const start = server.start().then(
        () => true,
        ({ code }: LightconeError) => code,
      );
      if (comesFirst) await listened;
      // SQLite answers within one turn of the event loop, so it is the steps inside a turn that matter.
      for (let step = 0; step < steps; step += 1) await undefined;
      const stop = server.stop();
      const end = await start;
      if (end !== true) expect(end).toBe('NOT_NOW');
      if (end === 'NOT_NOW') stoppedInTime += 1;
      await stop;
      await eventually(() => open().length <= before, {
        what: `nothing left open after ${steps} steps`,
      });
    }
  }
  expect(stoppedInTime).toBeGreaterThan(20);
  // Nor is the lock of the file held.
  const last = await create();
  await last.start();
  await last.stop();
  rmSync(folder, { recursive: true });
});
