/** Every event that is queued is written, merged, dropped or waiting: whatever a tab goes through, for each kind. */
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Tab } from '../../src/connections/tabs/tab.js';
import { TabWriter } from '../../src/connections/writing/tab-writer.js';
import { commentFrame, EventId, eventFrame, Frame, type MergeRule } from '../../src/events/frame.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';

const PRINCIPAL = { userId: 1, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } } as const;
const eventId = new EventId(1);
const LAST_WINS: MergeRule<null, null> = {
  begin: () => null,
  add: () => true,
  frame: () => merging(),
};
const merging = (): Frame =>
  new Frame('history_update', 'event: history_update\n\n', eventId, LAST_WINS, null);
const plain = (): Frame => eventFrame('broadcast_update', '{}', eventId);
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A client that takes bytes only when it is told to. */
class Peer extends Writable {
  got = '';
  isReading = true;
  private go: (() => void) | undefined;
  constructor() {
    super({ highWaterMark: 1, decodeStrings: false });
  }
  override _write(bytes: Buffer | string, _encoding: string, done: () => void): void {
    this.got += String(bytes);
    if (this.isReading) setImmediate(done);
    else this.go = done;
  }
  read(): void {
    this.isReading = true;
    this.go?.();
    this.go = undefined;
  }
}

const steps = fc.array(
  fc.constantFrom('merging', 'plain', 'turn', 'stop', 'read', 'keepalive', 'catchUp', 'caughtUp'),
  { maxLength: 60 },
);
const KINDS = ['history_update', 'broadcast_update'] as const;

it('balances for each kind at each moment, and what is counted as written is what the client got', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.boolean(), async (course, closes) => {
      const metrics = new CountingMetrics();
      const writer = new TabWriter(
        3,
        (it) => {
          it.state = 'catching_up';
        },
        (_, error) => {
          throw error;
        },
      );
      const peer = new Peer();
      const tab = new Tab(peer, false, PRINCIPAL, eventId, undefined);
      writer.begin(tab, '');
      peer.on('drain', () => writer.onWritable(tab));
      const waiting = (kind: string): number =>
        (tab.pending?.frames() ?? []).filter((frame) => frame.kind === kind).length +
        [...(tab.queue?.kinds() ?? [])].filter((it) => it === kind).length;
      const looksBalanced = (): void => {
        writer.counts.report(metrics);
        for (const kind of KINDS) {
          const sum = (what: 'queued' | 'written' | 'merged' | 'dropped'): number =>
            metrics.total(`galaxy.sse.events.${what}`, { kind });
          expect(sum('written') + sum('merged') + sum('dropped') + waiting(kind)).toBe(sum('queued'));
        }
      };
      for (const step of course) {
        if (step === 'merging') writer.put(tab, merging());
        else if (step === 'plain') writer.put(tab, plain());
        else if (step === 'turn') await turn();
        else if (step === 'stop') peer.isReading = false;
        else if (step === 'read') peer.read();
        else if (step === 'keepalive' && tab.state === 'live' && tab.pending === undefined)
          writer.writeKeepalive(tab, commentFrame('keepalive', eventId));
        else if (step === 'catchUp' && tab.state === 'live') {
          writer.discard(tab, 'caught_up');
          tab.state = 'catching_up';
        } else if (step === 'caughtUp' && tab.state === 'catching_up')
          writer.writeCatchUp(tab, [plain(), commentFrame('that was all', eventId)]);
        looksBalanced();
      }
      if (closes) {
        tab.state = 'closed';
        writer.discard(tab, 'closed');
        writer.put(tab, plain());
      }
      peer.read();
      for (let i = 0; i < 20; i += 1) await turn();
      looksBalanced();
      await expect
        .poll(() => [...peer.got.matchAll(/^event: /gm)].length)
        .toBe(
          KINDS.reduce(
            (sum, kind) =>
              sum +
              metrics.total('galaxy.sse.events.written', { kind }) +
              metrics.total('galaxy.sse.resume.events', { kind }),
            0,
          ),
        );
    }),
    { numRuns: 200 },
  );
});

it('counts a dropped event under the name that Galaxy has for it, too, where a queue was full', () => {
  const metrics = new CountingMetrics();
  const writer = new TabWriter(2, () => {}, throwing);
  const tab = new Tab(new Peer(), false, PRINCIPAL, eventId, undefined);
  tab.state = 'blocked';
  for (let i = 0; i < 4; i += 1) writer.put(tab, plain());
  tab.state = 'closed';
  writer.discard(tab, 'closed');
  writer.counts.report(metrics);
  expect(metrics.total('galaxy.sse.connections.dropped', { reason: 'queue_full' })).toBe(4);
  expect(metrics.total('galaxy.sse.events.dropped', { kind: 'broadcast_update' })).toBe(4);
});

const throwing = (_: Tab, error: unknown): never => {
  throw error;
};
