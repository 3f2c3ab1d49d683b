import { Histogram } from './histogram.js';
import { type MetricName, type MetricSink, type MetricType, noMetrics, type Tags } from './metrics.js';
import { SeriesMap } from './series.js';

export interface Total {
  readonly name: MetricName;
  readonly tags: Tags;
  readonly kind: MetricType;
  /** Counter: the total. Gauge: the last value. Timing: the sum in milliseconds. */
  readonly value: number;
  /** Timing: the number of values. */
  readonly count: number;
}

type Mutable = { -readonly [Key in keyof Total]: Total[Key] };

/** Keeps totals since the start, for `/api/status`, Prometheus and tests, and forwards everything. */
export class CountingMetrics implements MetricSink {
  readonly #counters = kind('counter');
  readonly #timings = kind('timing');
  readonly #gauges = kind('gauge');
  /** Histogram of `galaxy.sse.delivery.latency_ms`, for quantiles. */
  readonly deliveries = new Histogram();

  constructor(private readonly next: MetricSink = noMetrics) {}

  increment(name: MetricName, value: number, tags?: Tags): void {
    this.#counters.get(name, tags).value += value;
    this.next.increment(name, value, tags);
  }

  timing(name: MetricName, ms: number, tags?: Tags): void {
    const total = this.#timings.get(name, tags);
    total.value += ms;
    total.count += 1;
    if (name === 'galaxy.sse.delivery.latency_ms') this.deliveries.add(ms);
    this.next.timing(name, ms, tags);
  }

  gauge(name: MetricName, value: number, tags?: Tags): void {
    this.#gauges.get(name, tags).value = value;
    this.next.gauge(name, value, tags);
  }

  totals(): readonly Total[] {
    return [...this.#counters.values(), ...this.#timings.values(), ...this.#gauges.values()];
  }

  /** The sum over all series of the metric with these tags; for a timing, the number of values. */
  total(name: MetricName, tags: Tags = {}): number {
    let sum = 0;
    for (const total of this.totals()) {
      if (total.name !== name || Object.keys(tags).some((tag) => total.tags[tag] !== tags[tag])) continue;
      sum += total.kind === 'timing' ? total.count : total.value;
    }
    return sum;
  }
}

const kind = (of: Total['kind']) =>
  new SeriesMap<Mutable>((name, tags) => ({ name, tags, kind: of, value: 0, count: 0 }));
