/** Faults of PostgreSQL, of RabbitMQ, and of the ways to them. */
import {
  bindingRemoved,
  brokerHalfOpen,
  databaseHalfOpen,
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

under('a monitor behind proxies', { workers: 2, monitors: 1, proxied: true }, [
  databaseHalfOpen('LISTEN'),
  databaseHalfOpen('every database connection of the leader'),
  brokerHalfOpen('for a moment', 0),
  ...(LONG ? [brokerHalfOpen('for 8 s', 8_000)] : []),
]);
