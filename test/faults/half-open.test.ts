/** Faults of the ways to PostgreSQL and RabbitMQ: connections that stand and carry nothing. */
import { brokerHalfOpen, databaseHalfOpen } from './scenarios.js';
import { LONG, under } from './suite.js';

under('a monitor behind proxies', { workers: 2, monitors: 1, proxied: true }, [
  databaseHalfOpen('LISTEN'),
  databaseHalfOpen('every database connection of the leader'),
  brokerHalfOpen('for a moment', 0),
  ...(LONG ? [brokerHalfOpen('for 8 s', 8_000)] : []),
]);
