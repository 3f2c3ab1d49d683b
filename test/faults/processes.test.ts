/** Faults of our own processes and of tabs. */
import { freezeLeader, freezeWorker, killLeader, slowTransaction, stopLeader, tabAway } from './scenarios.js';
import { LONG, under } from './suite.js';

under('two workers and a monitor', { workers: 2, monitors: 1 }, [
  killLeader('monitor'),
  stopLeader('monitor'),
  freezeWorker,
  slowTransaction,
  tabAway('1 s', 1_000),
  ...(LONG ? [tabAway('60 s', 60_000)] : []),
]);

under('two workers without a monitor', { workers: 2, monitors: 0 }, [
  killLeader('worker'),
  stopLeader('worker'),
]);

if (LONG) {
  under('a heartbeat every second', { workers: 2, monitors: 1, sse: { heartbeat_interval: 1 } }, [
    freezeLeader,
  ]);
}
