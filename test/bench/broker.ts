/**
 * A private RabbitMQ (and with `--postgres` a PostgreSQL), until it is interrupted. Prints their URLs as JSON.
 *
 *     node broker.js [--postgres]
 */
import { startPostgres } from '../support/postgres.js';
import { startRabbit } from '../support/rabbitmq.js';

const rabbit = await startRabbit();
const postgres = process.argv.includes('--postgres') ? await startPostgres() : undefined;
process.stdout.write(`${JSON.stringify({ amqp: rabbit.amqpUrl, postgres: postgres?.url })}\n`);
const end = async (): Promise<void> => {
  await Promise.all([rabbit.stop(), postgres?.stop()]);
  process.exit(0);
};
process.once('SIGTERM', () => void end());
process.once('SIGINT', () => void end());
setInterval(() => {}, 60_000);
