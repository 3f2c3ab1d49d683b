import type { SocketOptions } from 'node:dgram';
import { StatsD } from 'hot-shots';
import type { StatsdConfig } from '../config/config.js';
import type { Clock } from '../lib/clock.js';
import type { Logger } from './logger.js';
import type { MetricName, MetricSink, Tags } from './metrics.js';
import { SeriesMap } from './series.js';
import { sharedLookup } from './shared-lookup.js';
import { wireSeries, wireTiming } from './statsd-format.js';
import { ThrottledLogger } from './throttled-logger.js';

const FLUSH_MS = 1_000;
/** Maximum number of timings of one series per flush; beyond it a fair sample (counters give the total). */
const TIMINGS_PER_FLUSH = 100;

interface Series {
  stat: string;
  tags: Record<string, string>;
  count: number;
  timings: number[];
  timingsSeen: number;
}

/**
 * Sends metrics over UDP, one per datagram, through hot-shots. It adds up counters and collects timings for a second,
 * so a count on the hot path costs an addition and no system call. It sends gauges at once.
 */
export class StatsdMetrics implements MetricSink {
  readonly #client: StatsD;
  readonly #timer: NodeJS.Timeout;
  readonly #series: SeriesMap<Series>;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly config: StatsdConfig,
    logger: Logger,
    clock: Clock,
    private readonly random: () => number = Math.random,
  ) {
    const warnings = new ThrottledLogger(logger, clock);
    this.#client = new StatsD({
      protocol: 'udp',
      host: config.host,
      port: config.port,
      udpSocketOptions: { type: 'udp4', lookup: sharedLookup(clock) as unknown as SocketOptions['lookup'] },
      telegraf: config.form === 'telegraf',
      // The environment of a Datadog agent must not change what is sent.
      datadog: false,
      includeDataDogTags: false,
      includeDatadogTelemetry: false,
      errorHandler: (error) =>
        warnings.warn(
          { host: config.host, port: config.port, reason: error.message },
          'metrics cannot be sent to statsd',
        ),
    });
    this.#series = new SeriesMap((name, tags) => ({
      ...wireSeries(config, name, tags),
      count: 0,
      timings: [],
      timingsSeen: 0,
    }));
    this.#timer = setInterval(() => this.flush(), FLUSH_MS);
    this.#timer.unref();
  }

  increment(name: MetricName, value: number, tags?: Tags): void {
    this.#series.get(name, tags).count += value;
  }

  timing(name: MetricName, ms: number, tags?: Tags): void {
    const series = this.#series.get(name, tags);
    series.timingsSeen += 1;
    if (series.timings.length < TIMINGS_PER_FLUSH) {
      series.timings.push(ms);
      return;
    }
    const place = Math.floor(this.random() * series.timingsSeen);
    if (place < TIMINGS_PER_FLUSH) series.timings[place] = ms;
  }

  gauge(name: MetricName, value: number, tags?: Tags): void {
    if (this.#closing) return;
    const { stat, tags: wireTags } = this.#series.get(name, tags);
    this.#client.gauge(stat, value, wireTags);
  }

  /** Sends everything collected. */
  flush(): void {
    if (!this.#closing) this.#send();
  }

  #send(): void {
    for (const series of this.#series.values()) {
      if (series.count !== 0) this.#client.increment(series.stat, series.count, series.tags);
      for (const ms of series.timings) {
        // Text, because a number would lose Galaxy's six decimals. hot-shots writes either as it is.
        const written = wireTiming(this.config.form, ms) as unknown as number;
        this.#client.timing(series.stat, written, series.tags);
      }
      series.count = 0;
      series.timings = [];
      series.timingsSeen = 0;
    }
  }

  /** Sends the rest and frees the socket. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      clearInterval(this.#timer);
      this.#send();
      this.#client.close(() => resolve());
    });
    return this.#closing;
  }
}
