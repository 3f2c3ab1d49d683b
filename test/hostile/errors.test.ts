/** An error that nobody expected, where it can be tied to a connection: it ends that connection, and concerns nobody else. */
import { afterEach, describe, expect, it } from 'vitest';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { rawConnection } from '../support/raw-http.js';

let here: Installation;
afterEach(() => here.close());

const fail = (): never => {
  throw new TypeError('a mistake of ours');
};
const STREAM = 'GET /api/events/stream?key=demo-bob HTTP/1.1\r\nHost: x\r\n\r\n';

async function toldStill(worker: RunningWorker): Promise<void> {
  const alice = await here.stream(worker.url);
  await here.change(DEMO.histories.alice);
  await alice.waitForHistory(here.encode(DEMO.histories.alice));
  alice.close();
}

describe.each([true, false])('node_internals: %s: an error', (node_internals) => {
  it('while a stream is opened ends its connection', async () => {
    here = Installation.embedded();
    const worker = await here.worker({ sse: { node_internals } });
    const { manager } = worker.worker;
    const open = manager.open.bind(manager);
    manager.open = (request) => (request.principal.userId === DEMO.users.bob ? fail() : open(request));
    const bob = rawConnection(worker.url, STREAM);
    await bob.until(({ closed }) => closed);
    await toldStill(worker);
    await expect.poll(() => manager.registry.all.length).toBe(0);
  });

  it.each(['written to', 'ended'])('while one stream is %s ends that stream, and no other', async (what) => {
    here = Installation.embedded();
    const worker = await here.worker({ sse: { node_internals } });
    const { manager } = worker.worker;
    const broken = await here.stream(worker.url);
    const tab = manager.registry.all[0]!;
    const well = await here.stream(worker.url);
    if (tab.handle) Object.assign(tab, { handle: {} });
    Object.assign(tab.out, { write: fail, end: fail });
    if (what === 'ended') expect(manager.closeById(tab.id)).toBe(true);
    await here.change(DEMO.histories.alice);
    await well.waitForHistory(here.encode(DEMO.histories.alice));
    expect(await broken.ended(5_000)).not.toBeUndefined();
    expect(manager.registry.all.length).toBe(1);
    expect(worker.lines.filter(({ msg }) => String(msg).startsWith('stream failed'))).toHaveLength(1);
    await toldStill(worker);
  });
});
