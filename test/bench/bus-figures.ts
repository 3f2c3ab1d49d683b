/** What a worker pays for control tasks that concern nobody of its tabs: on a large site that is nearly all of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openPublisher } from './amqp-publisher.js';
import { Stage } from './stage.js';
import { rounded } from './statistics.js';
import type { StreamSettings } from './stream-figures.js';

/** Tasks a second. Waking up costs more than a task: what one costs falls as several come at once. */
const RATES = [100, 1000, 10_000, 30_000];
const STRANGER = 1_000_000;

export async function unwantedTasks({ amqp, seconds }: StreamSettings) {
  const stage = await Stage.set(amqp);
  await stage.open(1000);
  const publisher = await openPublisher(amqp);
  const figures: Record<string, number> = {};
  /** @param batch histories in a task, each of another user */
  const publish = async (perSecond: number, batch = 1): Promise<number> => {
    const before = await stage.usage();
    const begin = performance.now();
    let published = 0;
    for (;;) {
      const elapsed = performance.now() - begin;
      for (; published < (elapsed / 1000) * perSecond; published += 1) {
        const userUpdates = new Map<number, number[]>();
        for (let i = 0; i < batch; i += 1) {
          const stranger = STRANGER + ((published * batch + i) % 5000);
          userUpdates.set(stranger, [stranger]);
        }
        publisher.publish({
          task: 'history_update',
          userUpdates,
          sessionUpdates: new Map(),
          updateTime: Date.now() * 1000,
        });
      }
      if (elapsed >= seconds * 1000) break;
      await sleep(1);
    }
    let after = await stage.usage();
    while (after.received - before.received < published) {
      await sleep(20);
      after = await stage.usage();
    }
    const quiet = await idleCpu(stage, seconds);
    return ((after.cpuSeconds - before.cpuSeconds - quiet) / published) * 1e6;
  };
  await publish(10_000);
  for (const rate of RATES) figures[`cpu_us_per_task_at_${rate}_a_second`] = rounded(await publish(rate), 1);
  figures.cpu_us_per_history_in_tasks_of_100 = rounded((await publish(50, 100)) / 100, 2);
  await publisher.close();
  await stage.strike();
  return figures;
}

async function idleCpu(stage: Stage, seconds: number): Promise<number> {
  const before = await stage.usage();
  await sleep(seconds * 1000);
  return (await stage.usage()).cpuSeconds - before.cpuSeconds;
}
