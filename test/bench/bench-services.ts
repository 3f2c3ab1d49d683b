/** PostgreSQL and RabbitMQ of our own, started when the first measurement needs them. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { type Postgres, startPostgres } from '../support/postgres.js';
import { startRabbit } from '../support/rabbitmq.js';

export interface Services {
  amqp: string;
  /** Administrator's URL. */
  postgres: string;
  stop(): Promise<void>;
}

export async function startServices(): Promise<Services> {
  const [rabbit, postgres] = await Promise.all([startRabbit(), startCountingPostgres()]);
  return {
    amqp: rabbit.amqpUrl,
    postgres: postgres.url,
    stop: async () => {
      await Promise.all([rabbit.stop(), postgres.stop()]);
    },
  };
}

/** With `pg_stat_statements`, which Debian's package brings along; its view is in the database `postgres`. */
export async function startCountingPostgres(): Promise<Postgres> {
  const server = await startPostgres({ settings: ['shared_preload_libraries=pg_stat_statements'] });
  const client = new pg.Client(server.url);
  await client.connect();
  await client.query('CREATE EXTENSION pg_stat_statements');
  await client.end();
  return server;
}

/** @returns the URL of a new, empty database */
export async function createDatabaseOn({ postgres }: Services): Promise<string> {
  const name = `bench_${randomUUID().slice(0, 8)}`;
  const client = new pg.Client(postgres);
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  const url = new URL(postgres);
  url.pathname = `/${name}`;
  return url.href;
}
