import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { ViewerRegistry } from '../../src/connections/routing/viewers.js';
import { OpenTabs } from '../../src/connections/tabs/open-tabs.js';
import { TabRegistry } from '../../src/connections/tabs/registry.js';
import type { Tab } from '../../src/connections/tabs/tab.js';
import { TabWriter } from '../../src/connections/writing/tab-writer.js';
import type { Principal } from '../../src/core/events.js';
import { EventId, eventFrame } from '../../src/events/frame.js';
import { systemClock } from '../../src/lib/clock.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { createLogger } from '../../src/telemetry/logger.js';

const anna: Principal = { userId: 1, sessionId: undefined, isAdmin: false, credential: { kind: 'none' } };
const eventId = new EventId(Date.UTC(2026, 6, 1) * 1000);

describe('an open tab', () => {
  let tabs: OpenTabs;
  let registry: TabRegistry;
  let viewers: ViewerRegistry;
  let writer: TabWriter;
  let metrics: CountingMetrics;
  let out: PassThrough;
  beforeEach(() => {
    registry = new TabRegistry();
    viewers = new ViewerRegistry();
    metrics = new CountingMetrics();
    writer = new TabWriter(
      4,
      () => {},
      (tab, error) => tabs.onFailed(tab, error),
      undefined,
    );
    tabs = new OpenTabs({
      config: { keepaliveSeconds: 30, writeTimeoutSeconds: 60 },
      registry,
      viewers,
      writer,
      keepalive: () => {},
      clock: systemClock,
      random: Math.random,
      logger: createLogger('silent'),
      metrics,
    });
    out = new PassThrough();
  });
  const open = (viewed: number[] = [], sink = out): Tab =>
    tabs.open({ out: sink, chunked: false, head: '', principal: anna, since: undefined, viewed }, eventId);
  const closed = (reason: string) => metrics.total('galaxy.sse.connections.closed', { reason });

  it('is registered with a number of its own, and its first bytes go out', () => {
    const [one, two] = [open(), open([], new PassThrough())];
    expect([one.id, two.id, registry.all.length]).toEqual([1, 2, 2]);
    expect(String(out.read())).toContain('event: ready');
  });

  it('that is closed from here is sent what was queued in this turn, and then its end', async () => {
    const tab = open();
    writer.put(tab, eventFrame('broadcast_update', '{"n":1}', eventId));
    tabs.close(tab, 'revoked');
    expect([tab.state, registry.all.length, closed('revoked')]).toEqual(['closed', 0, 1]);
    expect(String(out.read())).toContain('{"n":1}');
    expect(out.writableEnded).toBe(true);
  });

  it('that takes no bytes is cut', () => {
    const tab = open();
    tabs.close(tab, 'stalled');
    expect(out.destroyed).toBe(true);
  });

  it('is counted as closed once, however often it ends', () => {
    const tab = open();
    tabs.onClosed(tab, 'client');
    tabs.onClosed(tab, 'error');
    tabs.close(tab, 'drained');
    expect([closed('client'), closed('error'), closed('drained')]).toEqual([1, 0, 0]);
  });

  it('that was the last of its user takes the histories along that the user looked at', () => {
    const [one, two] = [open([7]), open([], new PassThrough())];
    viewers.subscribe({ userId: 1 }, 8);
    tabs.onClosed(one, 'client');
    expect(viewers.size).toBe(1);
    tabs.onClosed(two, 'client');
    expect(viewers.size).toBe(0);
  });

  it('that fails inside is cut, and counted as an error', () => {
    const tab = open();
    tabs.onFailed(tab, new Error('a bug'));
    expect([out.destroyed, closed('error')]).toEqual([true, 1]);
  });

  it('does not outlive a drain, whether it takes its bytes or not', async () => {
    open();
    const stuck = new PassThrough();
    open([], stuck).state = 'blocked';
    out.resume();
    await tabs.drain(300);
    expect([registry.all.length, out.writableEnded, stuck.destroyed, closed('drained')]).toEqual([
      0,
      true,
      true,
      2,
    ]);
  });
});
