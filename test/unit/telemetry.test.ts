import { describe, expect, it } from 'vitest';
import { LightconeError } from '../../src/core/errors.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { METRICS, type MetricName, type MetricSink } from '../../src/telemetry/metrics.js';
import { formatPrometheus } from '../../src/telemetry/prometheus.js';
import { ThrottledLogger } from '../../src/telemetry/throttled-logger.js';
import { recordingLogger } from '../support/bus.js';

describe('counting metrics', () => {
  it('keep totals by tags and pass everything on', () => {
    const passed: unknown[] = [];
    const next: MetricSink = {
      increment: (...args) => passed.push(args),
      timing: (...args) => passed.push(args),
      gauge: (...args) => passed.push(args),
    };
    const metrics = new CountingMetrics(next);
    metrics.increment('galaxy.sse.dispatch.count', 2, { task: 'notify_users' });
    metrics.increment('galaxy.sse.dispatch.count', 3, { task: 'history_update' });
    metrics.timing('galaxy.sse.dispatch.latency_ms', 5);
    metrics.timing('galaxy.sse.dispatch.latency_ms', 7);
    metrics.gauge('galaxy.sse.monitor.leader', 1);
    metrics.gauge('galaxy.sse.monitor.leader', 0);
    expect(metrics.total('galaxy.sse.dispatch.count')).toBe(5);
    expect(metrics.total('galaxy.sse.dispatch.count', { task: 'notify_users' })).toBe(2);
    expect(metrics.total('galaxy.sse.dispatch.latency_ms')).toBe(2);
    expect(metrics.total('galaxy.sse.monitor.leader')).toBe(0);
    expect(passed).toHaveLength(6);
  });
});

describe('the Prometheus text', () => {
  it('names counters, gauges and summaries, each family once, with escaped labels', () => {
    const metrics = new CountingMetrics();
    metrics.increment('galaxy.sse.connections.closed', 2, { reason: 'a "b"\\\n' });
    metrics.increment('galaxy.sse.connections.closed', 1, { reason: 'c' });
    metrics.timing('galaxy.sse.dispatch.latency_ms', 1.5, { task: 'notify_users' });
    metrics.gauge('galaxy.sse.monitor.leader', 1);
    expect(formatPrometheus(metrics.totals())).toBe(
      [
        `# HELP galaxy_sse_connections_closed_total ${METRICS['galaxy.sse.connections.closed'].meaning}`,
        '# TYPE galaxy_sse_connections_closed_total counter',
        'galaxy_sse_connections_closed_total{reason="a \\"b\\"\\\\\\n"} 2',
        'galaxy_sse_connections_closed_total{reason="c"} 1',
        `# HELP galaxy_sse_dispatch_latency_ms ${METRICS['galaxy.sse.dispatch.latency_ms'].meaning}`,
        '# TYPE galaxy_sse_dispatch_latency_ms summary',
        'galaxy_sse_dispatch_latency_ms_sum{task="notify_users"} 1.5',
        'galaxy_sse_dispatch_latency_ms_count{task="notify_users"} 1',
        `# HELP galaxy_sse_monitor_leader ${METRICS['galaxy.sse.monitor.leader'].meaning}`,
        '# TYPE galaxy_sse_monitor_leader gauge',
        'galaxy_sse_monitor_leader 1',
        '',
      ].join('\n'),
    );
  });

  it('is empty when nothing was counted', () => {
    expect(formatPrometheus([])).toBe('');
  });

  it('can be made of every metric', () => {
    for (const name of Object.keys(METRICS) as MetricName[]) {
      expect(METRICS[name].meaning).not.toContain('\n');
      expect(name).toMatch(/^galaxy\.sse\.[a-z_.]+$/);
    }
  });
});

describe('a warning that may come a thousand times a second', () => {
  it('is logged once a minute, with how many were left out', () => {
    let now = 0;
    const { logger, lines } = recordingLogger();
    const complain = new ThrottledLogger(logger, { now: () => 0, monotonic: () => now });
    for (let i = 0; i < 5; i += 1) complain.warn({ i }, 'again');
    now = 59_999;
    complain.warn({ i: 5 }, 'again');
    now = 60_000;
    complain.warn({ i: 6 }, 'again');
    expect(lines).toMatchObject([{ i: 0 }, { i: 6, suppressed: 5 }]);
  });
});

describe('an error in the log', () => {
  const logged = (error: Error): Record<string, unknown> => {
    const { logger, lines } = recordingLogger();
    logger.warn({ err: error }, 'something failed');
    return lines[0]!.err as Record<string, unknown>;
  };

  it('has no stack when a neighbour is away', () => {
    const away = new LightconeError('BUS_UNAVAILABLE', 'the broker is away', { cause: new Error('reset') });
    expect(logged(away)).toEqual({ code: 'BUS_UNAVAILABLE', message: 'the broker is away' });
  });

  it('does not show the request that could not be parsed', () => {
    const rawPacket = Buffer.from('GET / HTTP/9.9\r\nx-api-key: secret\r\n\r\n');
    const error = Object.assign(new Error('Parse Error'), { code: 'HPE_INVALID_VERSION', rawPacket });
    expect(logged(error)).toMatchObject({ message: 'Parse Error', code: 'HPE_INVALID_VERSION' });
    expect(logged(error)).not.toHaveProperty('rawPacket');
  });

  it('has a stack when it is a mistake in Lightcone', () => {
    expect(logged(new TypeError('x is not a function')).stack).toContain('telemetry.test.ts');
  });
});
