/** Faults that need another arrangement of processes, settings or clocks than the usual one. */
import { clocksOff, rollingRestart, tabAway, tabStopsReading } from './scenarios.js';
import { under } from './suite.js';

under('a supervisor with two workers', { workers: 1, monitors: 1, supervised: 2 }, [rollingRestart]);

const SHORT_WINDOW_SECONDS = 5;
under('a short recent_window', { workers: 2, monitors: 1, sse: { recent_window: SHORT_WINDOW_SECONDS } }, [
  tabAway('longer than recent_window', 2_000 * SHORT_WINDOW_SECONDS, 'database'),
  tabStopsReading,
]);

under('clocks that disagree', { workers: 2, monitors: 2, clocksOff: [3, -3, -3, 3] }, [clocksOff]);
