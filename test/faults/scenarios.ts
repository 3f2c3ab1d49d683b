/**
 * The faults. Each breaks something of a running cluster and mends it again; what it returns is the moment when what was
 * broken was whole again, from which delays are counted.
 */
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { amqpBus } from '../support/bus.js';
import { eventually } from '../support/databases.js';
import { removeBinding } from '../support/rabbitmq.js';
import type { Cluster, Member } from './cluster.js';

export interface Fault {
  /** As it stands in docs/reliability.md. */
  name: string;
  /** Milliseconds. */
  allowed: number;
  /** `run` breaks as often as rounds are asked for, while transactions stay open; else each round is judged by itself. */
  isSeries?: boolean;
  /** @returns `performance.now()` at the end of the fault, or of each; without one, the moment the function ends */
  run: (cluster: Cluster) => Promise<number | number[] | undefined>;
}

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A worker that leads in place of a monitor gives the role back a heartbeat after that is there again. */
async function leaderOf(cluster: Cluster, kind: Member['kind']): Promise<Member> {
  const what = `a ${kind} that leads`;
  return eventually(() => [cluster.leader].find((leader) => leader?.kind === kind), { within: 15_000, what });
}

/** Starts another of its kind, so that the next fault finds the cluster whole. */
async function replace(cluster: Cluster, member: Member): Promise<void> {
  await (member.kind === 'monitor' ? cluster.startMonitor() : cluster.startWorker());
}

/** For as long as something else is checked the place stays empty; then it is filled again. */
const EMPTY_PLACE_MS = 4_000;

export const killLeader = (kind: Member['kind']): Fault => ({
  name: `kill -9 of the leading ${kind}`,
  allowed: 3_000,
  run: async (cluster) => {
    const leader = await leaderOf(cluster, kind);
    const at = performance.now();
    await cluster.kill(leader);
    await after(EMPTY_PLACE_MS);
    await replace(cluster, leader);
    return at;
  },
});

/** Whether it leads or not. */
export const killMember = (kind: Member['kind']): Fault => ({
  name: `kill -9 of a ${kind}`,
  allowed: 3_000,
  run: async (cluster) => {
    const member = cluster.members.find((it) => it.kind === kind && it.alive)!;
    await cluster.kill(member);
    const at = performance.now();
    await after(EMPTY_PLACE_MS);
    await replace(cluster, member);
    return at;
  },
});

export const stopLeader = (kind: Member['kind']): Fault => ({
  name: `clean stop of the leading ${kind}`,
  allowed: 1_000,
  run: async (cluster) => {
    const leader = await leaderOf(cluster, kind);
    const at = performance.now();
    const { code } = await leader.process.stop(15_000);
    if (code !== 0) throw new Error(`the stopped leader ended with ${code}`);
    await after(EMPTY_PLACE_MS);
    await replace(cluster, leader);
    return at;
  },
});

export const restartPostgres = (mode: 'fast' | 'immediate'): Fault => ({
  name: `PostgreSQL restarted (${mode})`,
  allowed: 3_000,
  run: async ({ services }) => {
    await services.postgres.restart(mode);
    return performance.now();
  },
});

export const terminateSession = (what: 'listen' | 'lock'): Fault => ({
  name: `pg_terminate_backend on the ${what === 'listen' ? 'LISTEN' : 'lock'} session`,
  allowed: 2_000,
  run: async (cluster) => {
    const ended = await cluster.database.psql<{ ended: boolean }>(
      `SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'lightcone ${what}%'`,
    );
    if (!ended.some((row) => row.ended)) throw new Error(`there is no ${what} session`);
    return performance.now();
  },
});

export const restartRabbit = (how: 'stop' | 'kill'): Fault => ({
  name: `RabbitMQ ${how === 'stop' ? 'restarted' : 'killed and restarted'}`,
  allowed: 5_000,
  run: async ({ services }) => {
    await services.rabbit.restart(how);
    return performance.now();
  },
});

export const memoryAlarm: Fault = {
  name: 'publishing blocked by the memory alarm of RabbitMQ',
  allowed: 5_000,
  run: async ({ services }) => {
    await services.rabbit.setMemoryAlarm(true);
    await after(6_000);
    await services.rabbit.setMemoryAlarm(false);
    return performance.now();
  },
};

/** A usual cure in guides. Whoever publishes next declares it anew; the queues of the workers stay unbound. */
export const exchangeDeleted: Fault = {
  name: 'the exchange deleted',
  allowed: 5_000,
  run: async ({ vhost }) => {
    const at = performance.now();
    await vhost.deleteExchange('galaxy_core_exchange');
    await after(6_000);
    return at;
  },
};

/** Half of the tabs would go silent. */
export const bindingRemoved: Fault = {
  name: 'the binding of one worker removed',
  allowed: 5_000,
  run: async ({ services, vhost }) => {
    const [queue] = await vhost.queues();
    await removeBinding(services.rabbit, vhost.name, queue!.name);
    const at = performance.now();
    await after(6_000);
    return at;
  },
};

export const definitionsLost: Fault = {
  name: 'the virtual host deleted and made anew, without definitions',
  allowed: 5_000,
  run: async ({ vhost }) => {
    await vhost.recreate();
    return performance.now();
  },
};

/** Longer than a task lives on the bus. */
const FROZEN_MS = 15_000;

export const freezeWorker: Fault = {
  name: 'a worker frozen for 15 s',
  allowed: 3_000,
  run: async (cluster) => {
    const worker = cluster.workers.find((it) => !it.leading)!;
    worker.process.signal('SIGSTOP');
    await after(FROZEN_MS);
    worker.process.signal('SIGCONT');
    return performance.now();
  },
};

/** With a heartbeat every second: who missed four of them loses the lock. */
export const freezeLeader: Fault = {
  name: 'the leading monitor frozen for 15 s (heartbeat_interval: 1)',
  allowed: 8_000,
  run: async (cluster) => {
    const leader = await leaderOf(cluster, 'monitor');
    const at = performance.now();
    leader.process.signal('SIGSTOP');
    await after(FROZEN_MS);
    leader.process.signal('SIGCONT');
    return at;
  },
};

export const slowTransaction: Fault = {
  name: 'a transaction open for 8 s',
  allowed: 1_000,
  run: async (cluster) => {
    const { writer, histories } = cluster;
    // Nobody else changes anything: only its own commit can be what the tabs are told.
    await cluster.pauseWriters();
    await after(1_000);
    const { done } = await writer.slowTransaction(histories[0]!.id, 8_000);
    return done;
  },
};

/** @param source what the catch-up must be answered from */
export const tabAway = (what: string, ms: number, source: 'memory' | 'database' = 'memory'): Fault => ({
  name: `a tab away for ${what}`,
  allowed: 1_000,
  run: async (cluster) => {
    const answers = (): Promise<number> => cluster.counted('galaxy_sse_resume_count', `source="${source}"`);
    const before = await answers();
    for (const { client } of cluster.tabs.filter((_, i) => i % 3 === 0)) client.leaveFor(ms);
    await after(ms);
    const at = performance.now();
    await eventually(async () => (await answers()) > before, { what: `a catch-up from the ${source}` });
    return at;
  },
});

/** Of the monitor that leads: after the fault before it the role, or the session, may still be on its way back. */
async function listeningPort(cluster: Cluster): Promise<number> {
  await leaderOf(cluster, 'monitor');
  const look = async (): Promise<number | undefined> => {
    const sessions = await cluster.database.psql<{ client_port: number }>(
      `SELECT client_port FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'lightcone listen'`,
    );
    return sessions.find((session) => cluster.proxies!.database.carries(session.client_port))?.client_port;
  };
  return eventually(look, { within: 15_000, what: 'a LISTEN session through the proxy' });
}

/** Of processes whose sessions go through `proxies.database`; only the LISTEN session, or all that are open at the moment. */
export const databaseHalfOpen = (what: 'LISTEN' | 'every database connection of the leader'): Fault => ({
  name: `${what} half-open`,
  allowed: 8_000,
  run: async (cluster) => {
    const { proxies } = cluster;
    if (what === 'LISTEN') {
      proxies!.database.silence(await listeningPort(cluster));
    } else {
      proxies!.database.goSilent();
      // Those that were caught stay silent; new ones work.
      await proxies!.database.resume();
    }
    const at = performance.now();
    await after(9_000);
    return at;
  },
});

export const brokerHalfOpen = (what: string, ms: number): Fault => ({
  name: `RabbitMQ half-open ${what}`,
  allowed: 5_000,
  run: async ({ proxies }) => {
    proxies!.broker.goSilent();
    await after(ms);
    await proxies!.broker.resume();
    const at = performance.now();
    await after(6_000);
    return at;
  },
});

/** Of a cluster whose one worker member is a supervisor of several. */
export const rollingRestart: Fault = {
  name: 'rolling restart of all workers, twice',
  allowed: 5_000,
  run: async ({ workers: [supervisor] }) => {
    const { process, url } = supervisor!;
    const prober = new Prober(`${url}/healthz`);
    const done = (): number => process.lines.filter(({ msg }) => msg === 'rolling restart done').length;
    for (let i = 0; i < 2; i += 1) {
      const before = done();
      process.signal('SIGHUP');
      await eventually(() => done() > before, { within: 60_000, what: 'the end of the rolling restart' });
    }
    const at = performance.now();
    await after(1_000);
    const { asked, failures } = await prober.stop();
    if (failures.length > 0)
      throw new Error(`${failures.length} of ${asked} requests failed: ${failures[0]}`);
    return at;
  },
};

async function askKept(url: string): Promise<number> {
  const response = await fetch(url);
  await response.arrayBuffer();
  return response.status;
}

async function askAnew(url: string): Promise<number> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  await once(response.resume(), 'end');
  return response.statusCode!;
}

/** Asks again and again, on kept connections and on new ones, and remembers what went wrong. */
class Prober {
  private readonly failures: string[] = [];
  private asked = 0;
  private stopped = false;
  private readonly loops: Promise<void>[];

  constructor(private readonly url: string) {
    this.loops = [askKept, askKept, askAnew, askAnew].map((ask) => this.loop(ask));
  }

  private async loop(ask: (url: string) => Promise<number>): Promise<void> {
    while (!this.stopped) {
      this.asked += 1;
      try {
        const status = await ask(this.url);
        if (status !== 200) this.failures.push(`status ${status}`);
      } catch (error) {
        const { message, cause } = error as Error;
        this.failures.push(`${message}: ${String(cause ?? '')}`);
      }
      await after(5);
    }
  }

  async stop(): Promise<{ asked: number; failures: string[] }> {
    this.stopped = true;
    await Promise.all(this.loops);
    return { asked: this.asked, failures: this.failures };
  }
}

const PAYLOAD = JSON.stringify({ content: 'x'.repeat(64 * 1024) });
const MESSAGES_PER_SECOND = 24;

/** What is sent to its user is more than kernel and queue hold together: the queue overflows. */
export const tabStopsReading: Fault = {
  name: 'a tab that stops reading for 20 s under load',
  allowed: 2_000,
  run: async (cluster) => {
    const droppedBefore = await cluster.counted('galaxy_sse_connections_dropped');
    const userId = 1;
    const [tab] = cluster.tabs.filter(({ name }) => name.endsWith(`user ${userId}`));
    const { bus } = amqpBus(cluster.vhost.amqpUrl, { serverName: 'load', publishesOnly: true });
    await bus.start();
    tab!.client.pause();
    try {
      for (let i = 0; i < 20 * MESSAGES_PER_SECOND; i += 1) {
        await bus.publish({ task: 'notify_users', userIds: [userId], payload: PAYLOAD });
        await after(1000 / MESSAGES_PER_SECOND);
      }
    } finally {
      tab!.client.resume();
      await bus.stop();
    }
    const at = performance.now();
    if ((await cluster.counted('galaxy_sse_connections_dropped')) === droppedBefore) {
      throw new Error('the load was not enough: no queue overflowed');
    }
    return at;
  },
};

export const clocksOff: Fault = {
  name: 'process clocks off by ±3 s',
  allowed: 3_000,
  run: async (cluster) => {
    for (const { client } of cluster.tabs.filter((_, i) => i % 2 === 0)) client.leaveFor(1_000);
    return killLeader('monitor').run(cluster);
  },
};
