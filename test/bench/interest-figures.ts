/** Eight workers with and without interest routing: what tasks for single users cost workers and broker. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AmqpBus } from '../../src/bus/amqp.js';
import { systemClock } from '../../src/core/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { seeded } from '../faults/random.js';
import { freePort } from '../support/free-port.js';
import { Child } from './child.js';
import type { Usage } from './server.js';
import { median, rounded } from './statistics.js';
import { Streams } from './streams.js';

const WORKERS = 8;
const TASKS_PER_SECOND = 2000;
/** Stands once in each history_update, and nowhere else in these streams. */
const MARK = '['.charCodeAt(0);

/** Nobody with a row id from here on has a tab. */
const FIRST_STRANGER = 1_000_000;
const STRANGERS = 5000;
/** Until the workers' code is compiled. */
const WARM_UP_SECONDS = 6;
/** Streams that are being opened at a time. */
const IN_FLIGHT = 64;

export interface InterestSettings {
  amqp: string;
  postgres: string;
  seconds: number;
  brokerCpuSeconds: () => Promise<number>;
}

/** Tabs lie at random, as a load balancer that knows nothing of users puts them. */
export async function interestFigures(settings: InterestSettings): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  for (const usersPerWorker of [25, 250]) {
    for (const form of ['plain', 'interest'] as const) {
      const measured = await measure(settings, form === 'interest', usersPerWorker * WORKERS);
      for (const [name, value] of Object.entries(measured)) {
        figures[`${usersPerWorker}_users_each_${form}_${name}`] = value;
      }
    }
  }
  return figures;
}

async function measure(
  { amqp, postgres, seconds, brokerCpuSeconds }: InterestSettings,
  interestRouting: boolean,
  users: number,
): Promise<Record<string, number>> {
  const workers = await startWorkers({
    BENCH_AMQP_URL: amqp,
    BENCH_DATABASE_URL: postgres,
    LIGHTCONE_INTEREST_ROUTING: String(interestRouting),
  });
  const bus = new AmqpBus({
    url: amqp,
    serverName: 'bench.publisher',
    logger: createLogger('error'),
    metrics: noMetrics,
    clock: systemClock,
    random: Math.random,
    interestRouting,
  });
  const streams = new Streams(MARK);
  const usages = () => Promise.all(workers.map(({ child }) => child.ask<Usage>({ ask: 'usage' })));
  const phase = async (userOf: (i: number) => number, reaches: 0 | 1) => {
    const [before, brokerBefore, begin] = [await usages(), await brokerCpuSeconds(), performance.now()];
    const { published, delivered } = await publish(bus, streams, userOf, reaches, seconds);
    const [after, brokerAfter] = [await usages(), await brokerCpuSeconds()];
    const elapsed = (performance.now() - begin) / 1000;
    const cpu = sum(after.map((usage, i) => usage.cpuSeconds - before[i]!.cpuSeconds));
    return {
      tasks_a_second: rounded(published / elapsed, 0),
      workers_cpu_percent: rounded((100 * cpu) / elapsed, 1),
      broker_cpu_percent: rounded((100 * (brokerAfter - brokerBefore)) / elapsed, 1),
      received_per_worker_a_second: rounded(
        median(after.map((usage, i) => (usage.received - before[i]!.received) / elapsed)),
        0,
      ),
      lost: published * reaches - delivered,
    };
  };
  try {
    await bus.start();
    await openTabs(streams, workers, users);
    const inTurn = (i: number): number => 1 + ((i * 7919) % users);
    await publish(bus, streams, inTurn, 1, WARM_UP_SECONDS);
    const own = await phase(inTurn, 1);
    const strangers = await phase((i) => FIRST_STRANGER + ((i * 7919) % STRANGERS), 0);
    return {
      ...Object.fromEntries(Object.entries(own).map(([name, value]) => [`own_${name}`, value])),
      ...Object.fromEntries(Object.entries(strangers).map(([name, value]) => [`strangers_${name}`, value])),
    };
  } finally {
    streams.close();
    await bus.stop();
    await Promise.all(workers.map(({ child }) => child.stop()));
  }
}

interface BenchWorker {
  port: number;
  child: Child;
}

/** One after the other: the first one fills the database. */
async function startWorkers(env: NodeJS.ProcessEnv): Promise<BenchWorker[]> {
  // Each child process listens for the end of this one.
  process.setMaxListeners(2 * WORKERS);
  const workers: BenchWorker[] = [];
  for (let i = 0; i < WORKERS; i += 1) {
    const port = await freePort();
    const own = { ...env, BENCH_SERVER_NAME: `bench.${i + 1}` };
    workers.push({ port, child: await Child.start('server', { args: [String(port)], env: own }) });
  }
  return workers;
}

async function openTabs(streams: Streams, workers: readonly BenchWorker[], users: number): Promise<void> {
  const random = seeded(8);
  const ports = Array.from({ length: users }, () => workers[Math.floor(random() * WORKERS)]!.port);
  let next = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (next < users) {
        const first = next;
        next += 1;
        await streams.open({
          port: ports[first]!,
          count: 1,
          first,
          path: '/api/events/stream?key=bench-{i}',
        });
      }
    }),
  );
}

/**
 * One history_update for one user at a time.
 *
 * @param reaches streams that a task reaches; resolves when all have it, or 5 s later
 */
async function publish(
  bus: AmqpBus,
  streams: Streams,
  userOf: (i: number) => number,
  reaches: 0 | 1,
  seconds: number,
): Promise<{ published: number; delivered: number }> {
  const before = streams.delivered;
  const begin = performance.now();
  let published = 0;
  for (;;) {
    const elapsed = (performance.now() - begin) / 1000;
    if (elapsed >= seconds) break;
    const confirms: Promise<void>[] = [];
    for (; published < elapsed * TASKS_PER_SECOND; published += 1) {
      const userId = userOf(published);
      confirms.push(
        bus.publish({
          task: 'history_update',
          userUpdates: new Map([[userId, [userId]]]),
          sessionUpdates: new Map(),
          updateTime: Date.now() * 1000,
        }),
      );
    }
    // A broker that is behind is not sent more.
    await Promise.all(confirms);
    await sleep(1);
  }
  const expected = published * reaches;
  const deadline = performance.now() + 5000;
  while (streams.delivered - before < expected && performance.now() < deadline) await sleep(5);
  return { published, delivered: streams.delivered - before };
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
