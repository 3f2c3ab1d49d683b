/** The worker under test with its tabs: connecting, memory, fan-out, latency, unwanted tasks, slow readers, idleness. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from './child.js';
import { SESSION_COOKIE } from './seed.js';
import { Stage } from './stage.js';
import { median, rounded } from './statistics.js';

export interface StreamSettings {
  amqp: string;
  tabs: number;
  /** Of each phase. */
  seconds: number;
}

export async function connecting({ amqp, tabs }: StreamSettings) {
  const stage = await Stage.set(amqp);
  const options = { path: '/api/events/stream', header: `Cookie: ${SESSION_COOKIE}` };
  const rates: number[] = [];
  const cpu: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const before = await stage.usage();
    const seconds = await stage.open(tabs, options);
    rates.push(tabs / seconds);
    cpu.push(((await stage.usage()).cpuSeconds - before.cpuSeconds) / tabs);
    await stage.close();
  }
  await stage.strike();
  // The first round is the compiler's.
  return {
    connections_per_second: rounded(median(rates.slice(1)), 0),
    cpu_us_per_connection: rounded(median(cpu.slice(1)) * 1e6, 1),
  };
}

export async function memory({ amqp, tabs }: StreamSettings) {
  const stage = await Stage.set(amqp);
  await stage.open(200);
  await stage.publish({ to: '*', seconds: 1, window: 1, reaches: 200 });
  await stage.close();
  const before = await stage.usage('gc');
  await stage.open(tabs);
  await sleep(2000);
  const open = await stage.usage();
  const collected = await stage.usage('gc');
  await stage.strike();
  return {
    kib_per_tab: rounded((open.rssBytes - before.rssBytes) / 1024 / tabs),
    kib_per_tab_after_gc: rounded((collected.rssBytes - before.rssBytes) / 1024 / tabs),
    rss_mib: rounded(open.rssBytes / 1024 / 1024, 0),
    rss_mib_without_tabs: rounded(before.rssBytes / 1024 / 1024, 0),
  };
}

export async function fanOut({ amqp, tabs, seconds }: StreamSettings) {
  const stage = await Stage.set(amqp);
  const measure = async (count: number, window: number) => {
    await stage.open(count);
    await stage.publish({ to: '*', seconds: 1, window, reaches: count });
    const before = await stage.usage();
    const result = await stage.publish({ to: '*', seconds, window, reaches: count });
    const after = await stage.usage();
    await stage.close();
    return {
      deliveries_per_second: rounded(result.delivered / result.seconds, 0),
      cpu_us_per_delivery: rounded(((after.cpuSeconds - before.cpuSeconds) / result.delivered) * 1e6),
      lost: result.published * count - result.delivered,
    };
  };
  const figures = { many: await measure(tabs, 4), few: await measure(1000, 8), one: await measure(1000, 1) };
  await stage.strike();
  return Object.fromEntries(
    Object.entries(figures).flatMap(([name, values]) =>
      Object.entries(values).map(([figure, value]) => [`${name}_${figure}`, value]),
    ),
  );
}

/** 40,000 deliveries/s to 2,000 tabs, then 1,000 events/s each to one of many users. */
export async function latency({ amqp, tabs, seconds }: StreamSettings) {
  const stage = await Stage.set(amqp);
  await stage.open(2000);
  await sleep(1000);
  const paced = await stage.publish({ to: '*', seconds, perSecond: 20, reaches: 2000, timed: true });
  await stage.close();
  await stage.open(tabs);
  await sleep(1000);
  const targeted = await stage.publish({ to: tabs, seconds, perSecond: 1000, reaches: 1, timed: true });
  await stage.strike();
  return {
    paced_p50_ms: rounded(paced.fromPublication?.p50 ?? 0),
    paced_p99_ms: rounded(paced.fromPublication?.p99 ?? 0),
    targeted_p50_ms: rounded(targeted.fromPublication?.p50 ?? 0),
    targeted_p99_ms: rounded(targeted.fromPublication?.p99 ?? 0),
    targeted_from_receipt_p50_ms: rounded(targeted.fromReceipt?.p50 ?? 0),
    targeted_from_receipt_p99_ms: rounded(targeted.fromReceipt?.p99 ?? 0),
    lost: paced.published * 2000 - paced.delivered + targeted.published - targeted.delivered,
  };
}

/** 10 of 200 tabs read nothing, events of 8 KiB as fast as the others take them. */
export async function slowReaders({ amqp }: StreamSettings) {
  const stage = await Stage.set(amqp);
  await stage.open(200);
  await stage.publish({ to: '*', seconds: 1, window: 4, reaches: 200, size: 8000 });
  await stage.close();
  const before = await stage.usage('gc');
  await stage.open(200, { stalled: 10 });
  const publishing = stage.publish({ to: '*', seconds: 6, window: 4, reaches: 190, size: 8000 });
  let highest = 0;
  let done = false;
  void publishing.then(() => {
    done = true;
  });
  while (!done) {
    highest = Math.max(highest, (await stage.usage()).rssBytes);
    await sleep(100);
  }
  const result = await publishing;
  await stage.strike();
  return {
    growth_mib: rounded((highest - before.rssBytes) / 1024 / 1024, 1),
    published_mib_per_tab: rounded((result.published * 8200) / 1024 / 1024, 0),
    lost_by_the_others: result.published * 190 - result.delivered,
    closed: result.closed,
  };
}

/** What a worker, beside a monitor of its own, pays to be idle with many tabs, over two whole keepalive intervals. */
export async function idle(services: { amqp: string; postgres: string }, count: number) {
  const env = { BENCH_AMQP_URL: services.amqp, BENCH_DATABASE_URL: services.postgres };
  const stage = await Stage.set(services.amqp, env);
  const monitor = await Child.start('monitor', { env });
  await stage.open(count);
  // The first keepalives are due, and the garbage of opening is collected.
  await sleep(35_000);
  const before = await stage.usage();
  const begin = performance.now();
  await sleep(60_000);
  const after = await stage.usage();
  await stage.strike();
  await monitor.stop();
  return {
    tabs: count,
    share_of_a_core: rounded(
      ((after.cpuSeconds - before.cpuSeconds) / (performance.now() - begin)) * 1000,
      4,
    ),
    rss_mib: rounded(after.rssBytes / 1024 / 1024, 0),
  };
}
