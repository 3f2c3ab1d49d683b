import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Tab } from '../../src/connections/tabs/tab.js';
import { commentFrame } from '../../src/events/frame.js';
import { eventually } from '../support/databases.js';
import { Installation, type RunningWorker } from '../support/installation.js';
import { WITHOUT_NODE_INTERNALS } from '../support/processes.js';

let here: Installation;
let worker: RunningWorker;
let client: Socket;
let tab: Tab;

/** A client that reads nothing, and so much sent to it that a little is left waiting in the worker. */
async function fill(way: string): Promise<void> {
  here = Installation.embedded();
  worker = await here.worker({
    sse: { keepalive_interval: 1, write_timeout: 2, permission_check_interval: 1, drain_timeout: 10 },
  });
  client = connect(Number(new URL(worker.url).port), '127.0.0.1');
  client.on('error', () => {});
  client.write('GET /api/events/stream?key=demo-alice HTTP/1.1\r\nHost: x\r\n\r\n');
  const { manager } = worker.worker;
  await eventually(() => manager.registry.all.length === 1, { what: 'the stream' });
  tab = manager.registry.all[0]!;
  if (!WITHOUT_NODE_INTERNALS) expect(tab.handle).toBeDefined();
  if (way === 'through its stream') tab.handle = undefined;
  const comment = commentFrame('x'.repeat(4000), tab.eventId);
  // A response holds what is written in one turn until its end.
  for (; tab.state === 'live' && tab.out.writableLength === 0; await new Promise(setImmediate))
    manager.writer.writeKeepalive(tab, comment);
  expect(tab.state).toBe(way === 'past its stream' ? 'blocked' : 'live');
  expect(tab.out.writableNeedDrain).toBe(false);
}
afterEach(() => {
  client.destroy();
  return here.close();
});

describe.each(WITHOUT_NODE_INTERNALS ? ['through its stream'] : ['past its stream', 'through its stream'])(
  'a client that reads nothing, written to %s, for which only little waits',
  (way) => {
    beforeEach(() => fill(way));

    it('is let go after the write timeout', async () => {
      await eventually(() => tab.out.destroyed, { within: 5_000, what: 'the end of its socket' });
      expect(worker.worker.manager.registry.all).toHaveLength(0);
    });

    it('does not keep its socket when its stream is ended from this side', async () => {
      worker.worker.manager.close(tab, 'revoked');
      // A stream's little buffer counts as room for the last bytes, a full socket does not.
      expect(tab.out.destroyed).toBe(way === 'past its stream');
      await eventually(() => tab.out.destroyed, { within: 8_000, what: 'the end of its socket' });
    });

    it('does not hold up a stop beyond its time limit', async () => {
      worker.worker.manager.close(tab, 'revoked');
      const begin = performance.now();
      await worker.stop();
      expect(performance.now() - begin).toBeLessThan(9_000);
      expect(tab.out.destroyed).toBe(true);
    });
  },
);
