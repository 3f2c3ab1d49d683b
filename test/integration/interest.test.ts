import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { broadcastBody, publishRaw } from '../support/publish.js';
import type { SseClient } from '../support/sse-client.js';

let here: Installation;
let one: RunningWorker;
let two: RunningWorker;
const { alice, bob } = DEMO.histories;
const sse = { interest_routing: true, resume_overlap: 1 };

beforeEach(async () => {
  here = await Installation.production();
  one = await here.worker({ sse });
  two = await here.worker({ sse });
});
afterEach(() => here.close());

/** A counter of a worker, over all its tags that fit. */
async function counted({ url }: RunningWorker, name: string, tag = ''): Promise<number> {
  const text = await (await fetch(`${url}/metrics?key=demo-admin`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(name) && line.includes(tag));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
const tasksReceived = (worker: RunningWorker): Promise<number> =>
  counted(worker, 'galaxy_sse_tasks_received_total', 'task="history_update"');

/** Until what was published before has arrived everywhere: a broadcast goes to all and stays behind it. */
async function allArrived(...streams: SseClient[]): Promise<void> {
  const text = `${performance.now()}`;
  await publishRaw(here.vhost!.amqpUrl, [broadcastBody({ text })]);
  await Promise.all(streams.map((stream) => stream.waitFor((frame) => frame.data?.includes(text) === true)));
}

/** Changes the history so often that each time is one event, and waits for each. */
async function changeAndWait(historyId: number, stream: SseClient, times: number): Promise<void> {
  for (let i = 0; i < times; i += 1) {
    const from = stream.frames.length;
    await here.change(historyId);
    await stream.waitForHistory(here.encode(historyId), { from });
  }
}

describe('two workers with interest routing', () => {
  it('each hear of their own users only, and every change reaches every tab', async () => {
    const ofAlice = await here.stream(one.url);
    const ofBob = await here.stream(two.url, 'key=demo-bob');
    await changeAndWait(alice, ofAlice, 1);
    await changeAndWait(bob, ofBob, 1);
    await allArrived(ofAlice, ofBob);
    const before = [await tasksReceived(one), await tasksReceived(two)];
    await changeAndWait(alice, ofAlice, 5);
    await allArrived(ofAlice, ofBob);
    expect([await tasksReceived(one), await tasksReceived(two)]).toEqual([before[0]! + 5, before[1]]);
    await changeAndWait(bob, ofBob, 3);
    await allArrived(ofAlice, ofBob);
    expect([await tasksReceived(one), await tasksReceived(two)]).toEqual([before[0]! + 5, before[1]! + 3]);
    // A second tab of bob, on the other worker: from its `ready` on.
    const second = await here.stream(one.url, 'key=demo-bob');
    await here.change(bob);
    await Promise.all([second, ofBob].map((stream) => stream.waitForHistory(here.encode(bob))));
    expect(await tasksReceived(one)).toBe(before[0]! + 6);
  });

  it('tell a tab that moves to the other worker what it missed, from memory once that has heard enough', async () => {
    const stays = await here.stream(two.url, 'key=demo-bob');
    const leaves = await here.stream(one.url);
    await changeAndWait(alice, leaves, 1);
    const { lastEventId } = leaves;
    leaves.close();
    await here.change(alice);
    const resumes = (source: string) => counted(two, 'galaxy_sse_resume_count_total', `source="${source}"`);
    const comes = await here.stream(two.url, 'key=demo-alice', { lastEventId: lastEventId! });
    await comes.waitForHistory(here.encode(alice));
    expect([await resumes('memory'), await resumes('database')]).toEqual([0, 1]);
    await changeAndWait(alice, comes, 2);
    // A cursor so late that its overlap begins after the binding.
    const bound = two.worker.manager.estimateNow()!;
    await eventually(() => two.worker.manager.watermark! > bound + 1_500_000, { what: 'a later tick' });
    const from = comes.frames.length;
    await here.change(alice);
    const { id } = await comes.waitForHistory(here.encode(alice), { from });
    comes.close();
    await here.change(alice);
    const again = await here.stream(two.url, 'key=demo-alice', { lastEventId: id! });
    await again.waitForHistory(here.encode(alice));
    expect([await resumes('memory'), await resumes('database')]).toEqual([1, 1]);
    await allArrived(stays, again);
  });

  it.each(['in the URL', 'by a request'])(
    'tell a viewer (%s) of a history whose owner is elsewhere',
    async (way) => {
      await here.sql(`UPDATE history SET published = true WHERE id = ${bob}`);
      const owner = await here.stream(one.url, 'key=demo-bob');
      const query = `key=demo-alice${way === 'in the URL' ? `&history_id=${here.encode(bob)}` : ''}`;
      const viewer = await here.stream(two.url, query);
      if (way === 'by a request') {
        const { status } = await fetch(`${one.url}/api/events/history-subscriptions?key=demo-alice`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ history_ids: [here.encode(bob)] }),
        });
        expect(status).toBe(204);
        // Whatever happened until its bucket was bound.
        await viewer.waitForHistory(here.encode(bob));
      }
      const from = viewer.frames.length;
      await changeAndWait(bob, owner, 1);
      await viewer.waitForHistory(here.encode(bob), { from });
    },
  );

  it('go on when the broker cuts them off', async () => {
    const streams = [await here.stream(one.url), await here.stream(two.url, 'key=demo-bob')] as const;
    await changeAndWait(alice, streams[0], 1);
    await changeAndWait(bob, streams[1], 1);
    await here.vhost!.closeConnections();
    const late = await here.stream(two.url);
    const from = streams.map((stream) => stream.frames.length);
    await here.change(alice);
    await here.change(bob);
    await streams[0].waitForHistory(here.encode(alice), { from: from[0]!, within: 10_000 });
    await streams[1].waitForHistory(here.encode(bob), { from: from[1]!, within: 10_000 });
    await late.waitForHistory(here.encode(alice), { within: 10_000 });
    for (const { worker } of [one, two]) await eventually(() => worker.bus.subscribed, { what: 'the bus' });
    await changeAndWait(alice, late, 2);
  });
});
