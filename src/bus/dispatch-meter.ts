import type { TaskName } from '../core/events.js';
import type { Clock } from '../lib/clock.js';
import type { Metrics } from '../telemetry/metrics.js';

/**
 * The producer's metrics (contract, section 6.1) for every bus. Each publish increments exactly one of three counters:
 * `count` if the bus accepted the task, `unrouted` if no queue was bound, `skipped_no_qw` if the bus was unavailable.
 * So published and received tasks balance.
 */
export class DispatchMeter {
  constructor(
    private readonly metrics: Metrics,
    private readonly clock: Clock,
  ) {}

  async measure(task: TaskName, send: () => Promise<'routed' | 'unrouted'>): Promise<void> {
    const tags = { task };
    const startedAt = this.clock.monotonic();
    try {
      const outcome = await send();
      this.metrics.increment(
        outcome === 'routed' ? 'galaxy.sse.dispatch.count' : 'galaxy.sse.dispatch.unrouted',
        1,
        tags,
      );
    } catch (error) {
      this.metrics.increment('galaxy.sse.dispatch.skipped_no_qw', 1);
      throw error;
    } finally {
      this.metrics.timing('galaxy.sse.dispatch.latency_ms', this.clock.monotonic() - startedAt, tags);
    }
  }
}
