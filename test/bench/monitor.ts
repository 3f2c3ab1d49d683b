/** The standalone monitor, as `sse-monitor` composes it, answering `{ ask: 'usage' }`. */
import { StandaloneMonitor } from '../../src/app/processes/standalone-monitor.js';
import { systemClock } from '../../src/lib/clock.js';
import { boundYoungGeneration } from '../../src/node-internals/young-generation.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { configFromBenchEnvironment } from './settings.js';

boundYoungGeneration();
const { BENCH_POLL_MS } = process.env;
const given = configFromBenchEnvironment();
const pollIntervalSeconds = BENCH_POLL_MS ? Number(BENCH_POLL_MS) / 1000 : given.sse.pollIntervalSeconds;
/** Polls oftener than a settings file may ask for. */
const config = { ...given, sse: { ...given.sse, pollIntervalSeconds } };
const logger = createLogger(config.logLevel);
const monitor = new StandaloneMonitor(config, 'bench.monitor', {
  logger,
  clock: systemClock,
  random: Math.random,
});
await monitor.start();
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send!({ value: { cpuSeconds: (user + system) / 1e6, rssBytes: process.memoryUsage.rss() } });
});
process.on('SIGTERM', () => void monitor.stop().then(() => process.exit(0)));
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
