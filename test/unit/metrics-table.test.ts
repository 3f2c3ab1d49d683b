import { expect, it } from 'vitest';
import type { Metrics } from '../../src/telemetry/metrics.js';
import { noMetrics } from '../../src/telemetry/metrics.js';

const metrics: Metrics = noMetrics;

it('the compiler refuses an unknown metric, another type, a missing tag and an unknown value of a tag', () => {
  metrics.increment('galaxy.sse.dispatch.count', 1, { task: 'history_update' });
  // @ts-expect-error no such metric
  metrics.increment('galaxy.sse.dispatch.counts', 1);
  // @ts-expect-error a counter is not a gauge
  metrics.gauge('galaxy.sse.dispatch.count', 1, { task: 'history_update' });
  // @ts-expect-error the tag is missing
  metrics.increment('galaxy.sse.dispatch.count', 1);
  // @ts-expect-error no such value of the tag
  metrics.increment('galaxy.sse.connections.dropped', 1, { reason: 'overflow' });
  // @ts-expect-error this metric has no tags
  metrics.increment('galaxy.sse.changes.seen', 1, { kind: 'history_update' });
  expect(Object.keys(metrics)).toEqual(['increment', 'timing', 'gauge']);
});
