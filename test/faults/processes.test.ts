/** Faults of our own processes and of tabs. */
import {
  clocksOff,
  freezeLeader,
  freezeWorker,
  killLeader,
  rollingRestart,
  slowTransaction,
  stopLeader,
  tabAway,
  tabStopsReading,
} from './scenarios.js';
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

under('a supervisor with two workers', { workers: 1, monitors: 1, supervised: 2 }, [rollingRestart]);

const SHORT_WINDOW_SECONDS = 5;
under('a short recent_window', { workers: 2, monitors: 1, sse: { recent_window: SHORT_WINDOW_SECONDS } }, [
  tabAway('longer than recent_window', 2_000 * SHORT_WINDOW_SECONDS, 'database'),
  tabStopsReading,
]);

under('clocks that disagree', { workers: 2, monitors: 2, clocksOff: [3, -3, -3, 3] }, [clocksOff]);

if (LONG) {
  under('a heartbeat every second', { workers: 2, monitors: 1, sse: { heartbeat_interval: 1 } }, [
    freezeLeader,
  ]);
}
