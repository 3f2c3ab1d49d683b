import type { Config } from '../../config/config.js';
import type { TabRegistry } from '../../connections/tabs/registry.js';
import type { Metrics } from '../../telemetry/metrics.js';

/** Sends the gauge of open streams, if the settings enable it. @returns a function that stops it */
export function startConnectionGauges(
  { queueMetricsIntervalSeconds, enableSseConnectionMetrics }: Config,
  server_name: string,
  registry: Pick<TabRegistry, 'all' | 'userTabCount'>,
  metrics: Metrics,
): () => void {
  if (queueMetricsIntervalSeconds === 0 || !enableSseConnectionMetrics) return () => {};
  const timer = setInterval(() => {
    const { all, userTabCount } = registry;
    metrics.gauge('galaxy.sse.connections.active', all.length, { kind: 'broadcast', server_name });
    metrics.gauge('galaxy.sse.connections.active', userTabCount, { kind: 'per_user', server_name });
  }, queueMetricsIntervalSeconds * 1000);
  return () => clearInterval(timer);
}
