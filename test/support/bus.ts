import { Writable } from 'node:stream';
import { AmqpBus, type AmqpBusOptions } from '../../src/bus/amqp/bus.js';
import type { BusHandler, GapCause } from '../../src/bus/port.js';
import type { ControlTask, Tick } from '../../src/core/events.js';
import { systemClock } from '../../src/lib/clock.js';
import { CountingMetrics } from '../../src/telemetry/counting-metrics.js';
import { createLogger, type Logger } from '../../src/telemetry/logger.js';

/** What came in, in order: tasks, ticks and gaps. */
export class Recorder implements BusHandler {
  readonly received: (ControlTask | Tick | GapCause)[] = [];
  onTask(task: ControlTask): void {
    this.received.push(task);
  }
  onTick(tick: Tick): void {
    this.received.push(tick);
  }
  onGap(cause: GapCause): void {
    this.received.push(cause);
  }
}

export const tick = (sequence: number, leader = 'a'): Tick => ({
  leader,
  sequence,
  until: 1_000_000 + sequence,
});
export const broadcast = (payload: string): ControlTask => ({ task: 'notify_broadcast', payload });

/** Of the test buses: ticks are signed with it. */
export const TICK_SECRET = 'the secret of the bus tests';

/** A logger whose lines a test can read. */
export function recordingLogger(): { logger: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  return { logger: createLogger('info', {}, destination), lines };
}

export interface TestBus {
  bus: AmqpBus;
  recorder: Recorder;
  metrics: CountingMetrics;
  lines: Record<string, unknown>[];
}

/** An AMQP bus that is not started yet; with a handler unless `publishesOnly`. */
export function amqpBus(
  url: string,
  options: Partial<AmqpBusOptions> & { publishesOnly?: boolean } = {},
): TestBus {
  const { publishesOnly, ...rest } = options;
  const { logger, lines } = recordingLogger();
  const metrics = new CountingMetrics();
  const recorder = new Recorder();
  const bus = new AmqpBus({
    url,
    serverName: 'main.1',
    secret: TICK_SECRET,
    logger,
    metrics,
    clock: systemClock,
    random: Math.random,
    ...rest,
  });
  if (!publishesOnly) bus.subscribe(recorder);
  return { bus, recorder, metrics, lines };
}
