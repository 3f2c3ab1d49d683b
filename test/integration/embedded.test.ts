import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEMO, Installation } from '../support/installation.js';
import { historyIds, type SseClient } from '../support/sse-client.js';

let here: Installation;
beforeEach(() => {
  here = Installation.embedded();
});
afterEach(() => here.close());

const { alice, bob, anonymous } = DEMO.histories;
/** The histories that a stream was told of, as row ids. */
const told = (client: SseClient): Set<number> =>
  new Set(
    client.events('history_update').flatMap((frame) => historyIds(frame).map((id) => here.ids.decodeId(id)!)),
  );

describe('a change made by another program', () => {
  it('reaches its owner and nobody else', async () => {
    const { url } = await here.worker();
    const cookie = await here.cookieOf(DEMO.anonymousSession);
    const [ofAlice, ofBob, ofNobody, ofSession] = await Promise.all([
      here.stream(url, 'key=demo-alice'),
      here.stream(url, 'key=demo-bob'),
      here.stream(url, ''),
      here.stream(url, '', { headers: cookie }),
    ]);
    for (const id of [alice, bob, anonymous]) await here.change(id);
    await ofAlice.waitForHistory(here.encode(alice));
    await ofBob.waitForHistory(here.encode(bob));
    await ofSession.waitForHistory(here.encode(anonymous));
    expect(told(ofAlice)).toEqual(new Set([alice]));
    expect(told(ofBob)).toEqual(new Set([bob]));
    expect(told(ofSession)).toEqual(new Set([anonymous]));
    expect(told(ofNobody)).toEqual(new Set());
  });
});
