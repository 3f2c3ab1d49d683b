/** Faults of PostgreSQL and of RabbitMQ. */
import {
  bindingRemoved,
  definitionsLost,
  exchangeDeleted,
  memoryAlarm,
  restartPostgres,
  restartRabbit,
  terminateSession,
} from './scenarios.js';
import { LONG, under } from './suite.js';

under('two workers and a monitor', { workers: 2, monitors: 1 }, [
  terminateSession('listen'),
  terminateSession('lock'),
  restartPostgres('fast'),
  restartPostgres('immediate'),
  restartRabbit('stop'),
  ...(LONG ? [restartRabbit('kill')] : []),
  memoryAlarm,
  exchangeDeleted,
  bindingRemoved,
  definitionsLost,
]);
