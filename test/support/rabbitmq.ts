/**
 * A private RabbitMQ on free ports of 127.0.0.1, all its files in a temporary folder, with the management plugin. It is
 * started as whoever runs the tests, root included, and leaves nothing behind: neither files nor an epmd.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { dataFolder } from './data-folder.js';
import { freePort } from './free-port.js';
import { locate, runsElsewhere } from './programs.js';
import { api } from './rabbitmq-vhost.js';

export { createVhost, type Vhost } from './rabbitmq-vhost.js';

const START_DEADLINE_MS = 60_000;
const run = promisify(execFile);

export interface Rabbit {
  /** Of the virtual host `/`; tests make their own with `createVhost`. */
  amqpUrl: string;
  /** With user and password. */
  managementUrl: string;
  /** `rabbitmqctl`; @returns its standard output */
  ctl(...args: string[]): Promise<string>;
  /** Same ports, same data. `kill` ends it without a goodbye. Resolves when it takes connections again. */
  restart(how?: 'stop' | 'kill'): Promise<void>;
  /** Only the first half of a restart. */
  halt(how?: 'stop' | 'kill'): Promise<void>;
  resume(): Promise<void>;
  /** A memory alarm: publishing connections are blocked until it is lifted. */
  setMemoryAlarm(on: boolean): Promise<void>;
  stop(): Promise<void>;
}

/** As a broker that loses a binding: from outside nobody may touch what belongs to an exclusive queue. */
export async function removeBinding(rabbit: Rabbit, vhost: string, queue: string): Promise<void> {
  const of = (kind: string, name: string): string => `{resource, <<"${vhost}">>, ${kind}, <<"${name}">>}`;
  const binding = `{binding, ${of('exchange', 'galaxy_core_exchange')}, <<"#">>, ${of('queue', queue)}, []}`;
  await rabbit.ctl('eval', `ok = rabbit_binding:remove(${binding}, <<"test">>).`);
}

/** A broker of the caller's own, for tests that stop or break it. */
export async function startRabbit(): Promise<Rabbit> {
  const bin = dirname(locate('rabbitmq-server'));
  const home = dataFolder('lightcone-rabbitmq-');
  try {
    return await startPrivate(bin, home);
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
}

/** The broker that a test run shares: the one that TEST_AMQP_URL names, or a private one. */
export async function startSharedRabbit(): Promise<Pick<Rabbit, 'amqpUrl' | 'managementUrl' | 'stop'>> {
  if (!runsElsewhere('rabbitmq-server')) return startRabbit();
  return {
    amqpUrl: process.env.TEST_AMQP_URL!,
    managementUrl: process.env.TEST_RABBITMQ_MANAGEMENT_URL!,
    stop: async () => {},
  };
}

async function startPrivate(bin: string, home: string): Promise<Rabbit> {
  const amqp = await freePort();
  const management = await freePort();
  const distribution = await freePort();
  const epmd = await freePort();
  const node = `lightcone-${amqp}@localhost`;
  await writeFile(join(home, 'plugins'), '[rabbitmq_management].\n');
  await writeFile(join(home, 'env.conf'), '');
  await writeFile(
    join(home, 'rabbitmq.conf'),
    [
      `management.tcp.ip = 127.0.0.1`,
      `management.tcp.port = ${management}`,
      'collect_statistics_interval = 200',
      'log.file.level = info',
      '',
    ].join('\n'),
  );
  const env: NodeJS.ProcessEnv = {
    PATH: process.env.PATH,
    LANG: 'C.UTF-8',
    HOME: home,
    ERL_EPMD_PORT: String(epmd),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    // Two schedulers' worth of machine for the whole test run.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none',
    RABBITMQ_NODENAME: node,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(amqp),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(home, 'mnesia'),
    RABBITMQ_LOG_BASE: join(home, 'log'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(home, 'plugins'),
    RABBITMQ_CONF_ENV_FILE: join(home, 'env.conf'),
    RABBITMQ_CONFIG_FILE: join(home, 'rabbitmq.conf'),
    RABBITMQ_PID_FILE: join(home, 'pid'),
  };
  const managementUrl = `http://guest:guest@127.0.0.1:${management}`;
  let server: ChildProcess | undefined;

  const killGroup = () => {
    try {
      if (server?.pid !== undefined) process.kill(-server.pid, 'SIGKILL');
    } catch {
      // it ended a moment ago
    }
  };
  const resume = async () => {
    const child = spawn(`${bin}/rabbitmq-server`, [], {
      env,
      cwd: home,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    server = child;
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-2_000);
      });
    }
    child.once('exit', () => {
      if (server === child) server = undefined;
    });
    await until(START_DEADLINE_MS, 'RabbitMQ did not start', async () => {
      if (server !== child) throw new Error(`RabbitMQ ended while it started: ${said}`);
      return (await api(managementUrl, 'GET', `/health/checks/port-listener/${amqp}`)).ok;
    });
  };
  const halt = async (how: 'stop' | 'kill' = 'stop') => {
    const child = server;
    if (!child) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    if (how === 'kill') killGroup();
    else child.kill('SIGTERM');
    await exited;
    server = undefined;
  };
  const ctl = async (...args: string[]) => {
    const { stdout } = await run(`${bin}/rabbitmqctl`, ['-q', '-n', node, ...args], { env, cwd: home });
    return stdout;
  };
  // A test run that is broken off must not leave a broker behind.
  process.once('exit', killGroup);
  const stop = async () => {
    process.removeListener('exit', killGroup);
    await halt();
    await run('epmd', ['-port', String(epmd), '-kill'], { env }).catch(() => {});
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    await resume();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    amqpUrl: `amqp://guest:guest@127.0.0.1:${amqp}`,
    managementUrl,
    ctl,
    halt,
    resume,
    stop,
    restart: async (how) => {
      await halt(how);
      await resume();
    },
    setMemoryAlarm: async (on) => {
      await ctl('set_vm_memory_high_watermark', on ? '0.0000001' : '0.4');
    },
  };
}

async function until(deadlineMs: number, what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    if (await condition()) return;
    if (performance.now() > end) throw new Error(`${what} within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
