import type { Config } from '../../config/config.js';
import type { TabRegistry } from '../../connections/tabs/registry.js';
import type { Metrics } from '../../telemetry/metrics.js';

/** Sends how many streams are open, where the settings ask for it. @returns what ends that */
export function startConnectionGauges(
  { queueMetricsIntervalSeconds, enableSseConnectionMetrics }: Config,
  server_name: string,
  registry: Pick<TabRegistry, 'all' | 'ofUsers'>,
  metrics: Metrics,
): () => void {
  if (queueMetricsIntervalSeconds === 0 || !enableSseConnectionMetrics) return () => {};
  const timer = setInterval(() => {
    const { all, ofUsers } = registry;
    metrics.gauge('galaxy.sse.connections.active', all.length, { kind: 'broadcast', server_name });
    metrics.gauge('galaxy.sse.connections.active', ofUsers, { kind: 'per_user', server_name });
  }, queueMetricsIntervalSeconds * 1000);
  return () => clearInterval(timer);
}
