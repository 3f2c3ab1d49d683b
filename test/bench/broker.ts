/**
 * A private RabbitMQ (and with `--postgres` a PostgreSQL that counts statements), until it is interrupted. Prints their URLs as JSON.
 *
 *     node broker.js [--postgres]
 */
import { startRabbit } from '../support/rabbitmq.js';
import { startCountingPostgres } from './bench-services.js';

const rabbit = await startRabbit();
const postgres = process.argv.includes('--postgres') ? await startCountingPostgres() : undefined;
process.stdout.write(`${JSON.stringify({ amqp: rabbit.amqpUrl, postgres: postgres?.url })}\n`);
const end = async (): Promise<void> => {
  await Promise.all([rabbit.stop(), postgres?.stop()]);
  process.exit(0);
};
process.once('SIGTERM', () => void end());
process.once('SIGINT', () => void end());
setInterval(() => {}, 60_000);
