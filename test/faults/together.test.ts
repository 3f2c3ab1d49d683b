/** Two faults at a time, the second at a random moment of the first: what one repair relies on is broken by the other. */
import {
  bindingRemoved,
  definitionsLost,
  exchangeDeleted,
  type Fault,
  freezeWorker,
  killMember,
  memoryAlarm,
  restartPostgres,
  restartRabbit,
  terminateSession,
} from './scenarios.js';
import { LONG, random, under } from './suite.js';

/** Each neighbour may first have to come back, and then what the other broke is repaired. */
const both = (first: Fault, second: Fault): Fault => ({
  name: `${first.name}; meanwhile ${second.name}`,
  allowed: first.allowed + second.allowed,
  run: async (cluster) => {
    const begun = first.run(cluster);
    await new Promise((resolve) => setTimeout(resolve, 3_000 * random()));
    const ends = await Promise.all([begun, second.run(cluster)]);
    const now = performance.now();
    return Math.max(...ends.map((end) => (end as number | undefined) ?? now));
  },
});

under('two workers and a monitor', { workers: 2, monitors: 1 }, [
  both(restartRabbit('kill'), killMember('monitor')),
  both(restartPostgres('immediate'), restartRabbit('stop')),
  ...(LONG
    ? [
        both(freezeWorker, exchangeDeleted),
        both(freezeWorker, restartRabbit('kill')),
        both(freezeWorker, restartPostgres('immediate')),
        both(freezeWorker, killMember('monitor')),
        both(freezeWorker, definitionsLost),
        both(memoryAlarm, restartPostgres('fast')),
        both(memoryAlarm, killMember('monitor')),
        both(memoryAlarm, killMember('worker')),
        both(exchangeDeleted, killMember('monitor')),
        both(bindingRemoved, terminateSession('lock')),
        both(definitionsLost, restartPostgres('immediate')),
        both(restartRabbit('stop'), terminateSession('listen')),
        both(restartRabbit('kill'), killMember('worker')),
        both(restartPostgres('fast'), killMember('worker')),
      ]
    : []),
]);
