/** PostgreSQL and RabbitMQ of our own, started when the first measurement needs them. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { startPostgres } from '../support/postgres.js';
import { startRabbit } from '../support/rabbitmq.js';

export interface Services {
  amqp: string;
  /** Administrator's URL. */
  postgres: string;
  /** CPU time of the broker so far. */
  brokerCpuSeconds(): Promise<number>;
  stop(): Promise<void>;
}

/** What Linux counts CPU time in (USER_HZ). */
const TICKS_PER_SECOND = 100;

export async function startServices(): Promise<Services> {
  let pid: number | undefined;
  const [rabbit, postgres] = await Promise.all([startRabbit(), startPostgres()]);
  return {
    amqp: rabbit.amqpUrl,
    postgres: postgres.url,
    brokerCpuSeconds: async () => {
      pid ??= Number(await rabbit.ctl('eval', 'list_to_integer(os:getpid()).'));
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // Behind the name, which is in parentheses and may hold blanks: fields 14 and 15 are user and system time.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    },
    stop: async () => {
      await Promise.all([rabbit.stop(), postgres.stop()]);
    },
  };
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
