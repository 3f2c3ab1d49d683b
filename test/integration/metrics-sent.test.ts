/**
 * Every row of the table of metrics, with each value of its tags, as a statsd server and a Prometheus receive it: from two
 * workers and a monitor on PostgreSQL and RabbitMQ, to which all happens that the table names.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectAmqp } from 'amqplib';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { CONTROL_EXCHANGE, CONTROL_KEY, NOTICE_KEY, TICK_KEY } from '../../src/bus/amqp/topology.js';
import { encodeNotice, encodeTick } from '../../src/bus/wire/codec.js';
import type { Tab } from '../../src/connections/tabs/tab.js';
import { systemClock } from '../../src/lib/clock.js';
import type { ResyncCause } from '../../src/monitor/log-reader.js';
import { METRICS, type MetricName } from '../../src/telemetry/metrics.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';
import { DEMO, ID_SECRET, Installation, type RunningWorker } from '../support/installation.js';
import type { ServiceProcess } from '../support/processes.js';
import { broadcastBody, publishRaw } from '../support/publish.js';
import type { SseClient } from '../support/sse-client.js';
import { StatsdReceiver } from '../support/statsd.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const { alice } = DEMO.histories;
const ALICE = 'key=demo-alice';

interface Series {
  name: string;
  tags: Record<string, string>;
  value: number;
}
type Wanted = { name: MetricName; tag?: string; value?: string };

/** Each row; with each value where the table lists them, else with any. */
const WANTED: Wanted[] = (Object.keys(METRICS) as MetricName[]).flatMap((name): Wanted[] => {
  const spec = METRICS[name];
  if (!('tags' in spec)) return [{ name }];
  return Object.entries<readonly string[] | 'text'>(spec.tags).flatMap(([tag, values]): Wanted[] =>
    values === 'text' ? [{ name, tag }] : (values as string[]).map((value) => ({ name, tag, value })),
  );
});
const isIn = (all: readonly Series[], { name, tag, value }: Wanted, form: (name: MetricName) => string[]) =>
  form(name).every((wireName) =>
    all.some(
      (series) =>
        series.name === wireName &&
        (tag === undefined || (value === undefined ? tag in series.tags : series.tags[tag] === value)),
    ),
  );

const statsdForm = (name: MetricName): string[] => [name];
const prometheusForm = (name: MetricName): string[] => {
  const family = name.replaceAll('.', '_');
  return { counter: [`${family}_total`], gauge: [family], timing: [`${family}_sum`, `${family}_count`] }[
    METRICS[name].type
  ];
};
function ofDatagram(datagram: string): Series {
  const [, name, value, tags = ''] = /^([^:]+):([^|]+)\|(?:c|g|ms)(?:\|#(.*))?$/.exec(datagram) ?? [];
  if (name === undefined) throw new Error(`no datagram of statsd: ${datagram}`);
  const pairs = tags.split(',').map((pair) => pair.split(':') as [string, string]);
  return { name, value: Number(value), tags: Object.fromEntries(pairs) };
}
const ofPage = (page: string): Series[] =>
  [...page.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name, labels = '', value]) => ({
    name: name!,
    value: Number(value),
    tags: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, tag, text]) => [tag!, text!])),
  }));

let here: Installation;
let statsd: StatsdReceiver;
/** Ways that can be cut. */
let [database, broker, monitorsBroker]: TcpProxy[] = [];
let monitor: ServiceProcess;
let monitorUrl: string;
/** It asks the database for each catch-up, and its clock can jump. */
let first: RunningWorker;
/** It remembers, and has little room and patience. */
let second: RunningWorker;
const ahead = { ms: 0 };
const pages: string[] = [];

const seen = (): Series[] => statsd.datagrams.map(ofDatagram);
const sent = (name: MetricName, tags: Record<string, string> = {}): Promise<true> =>
  eventually(
    () =>
      seen().some(
        (series) =>
          series.name === name && Object.entries(tags).every(([tag, value]) => series.tags[tag] === value),
      ),
    { within: 20_000, what: `${name} ${JSON.stringify(tags)}` },
  );
async function scrape(url: string): Promise<Series[]> {
  const page = await (await fetch(`${url}/metrics`)).text();
  pages.push(page);
  return ofPage(page);
}
const sum = (all: Series[], name: string, tags: Record<string, string> = {}): number =>
  all
    .filter((it) => it.name === name && Object.entries(tags).every(([tag, value]) => it.tags[tag] === value))
    .reduce((total, { value }) => total + value, 0);

/** What was queued is written, merged or dropped, for each kind; nothing waits any more. */
async function balances({ url }: RunningWorker): Promise<void> {
  await eventually(
    async () => {
      const all = await scrape(url);
      const of = (what: string, kind: string) => sum(all, `galaxy_sse_events_${what}_total`, { kind });
      const kinds = new Set(
        all.filter(({ name }) => name === 'galaxy_sse_events_queued_total').map(({ tags }) => tags.kind!),
      );
      return (
        kinds.size > 0 &&
        [...kinds].every(
          (kind) => of('queued', kind) === of('written', kind) + of('merged', kind) + of('dropped', kind),
        )
      );
    },
    { within: 10_000, what: 'a balance of what was queued' },
  );
}
const broadcast = (bytes = 10): Promise<void> =>
  publishRaw(here.vhost!.amqpUrl, [broadcastBody({ text: 'x'.repeat(bytes) })]);
/** A tab that reads nothing, and so much for it that its socket is full. */
async function stuckTab(
  worker: RunningWorker,
  state: 'blocked' | 'lagging',
): Promise<{ stream: SseClient; tab: Tab }> {
  const { all } = worker.worker.manager.registry;
  const stream = await here.stream(worker.url, ALICE);
  const tab = all.at(-1)!;
  stream.pause();
  await eventually(
    async () => {
      if (tab.state !== state) await broadcast(1_000_000);
      return tab.state === state;
    },
    { within: 20_000, what: `a tab that is ${state}` },
  );
  return { stream, tab };
}
const micros = (): number => Date.now() * 1000;

beforeAll(async () => {
  [here, statsd] = await Promise.all([Installation.production(), StatsdReceiver.start()]);
  const databaseUrl = here.galaxy.database_connection as string;
  const { amqpUrl } = here.vhost!;
  [database, broker, monitorsBroker] = await Promise.all(
    [databaseUrl, amqpUrl, amqpUrl].map((url) => TcpProxy.to(url)),
  );
  const galaxy = {
    statsd_host: '127.0.0.1',
    statsd_port: statsd.port,
    enable_notification_system: true,
    enable_sse_connection_metrics: true,
    queue_metrics_interval: 1,
  };
  const listen = `127.0.0.1:${await freePort()}`;
  monitorUrl = `http://${listen}`;
  monitor = here.process(['monitor'], {
    galaxy: { ...galaxy, amqp_internal_connection: monitorsBroker!.through(amqpUrl) },
    sse: { monitor_metrics_listen: listen },
  });
  await monitor.line('leading: this process is the monitor');
  first = await here.worker(
    {
      galaxy: {
        ...galaxy,
        database_connection: database!.through(databaseUrl),
        amqp_internal_connection: broker!.through(amqpUrl),
      },
      sse: { recent_window: 0, queue_size: 2, permission_check_interval: 1 },
    },
    { clock: { ...systemClock, monotonic: () => systemClock.monotonic() + ahead.ms } },
  );
  second = await here.worker({
    galaxy,
    sse: {
      keepalive_interval: 1,
      write_timeout: 4,
      permission_check_interval: 1,
      queue_size: 2,
      drain_timeout: 5,
      max_connections: 10,
      max_connections_per_user: 3,
      max_connections_per_address: 2,
    },
  });
});
afterAll(async () => {
  await here.close();
  await Promise.all([database, broker, monitorsBroker].map((proxy) => proxy!.close()));
  await statsd.close();
});

describe('two workers and a monitor', () => {
  it('count the same tasks at both ends of the bus, and each event that is queued', async () => {
    const streams = [await here.stream(first.url), await here.stream(second.url)];
    for (let round = 0; round < 5; round += 1) {
      const from = streams.map(({ frames }) => frames.length);
      await here.change(alice);
      await Promise.all(streams.map((it, i) => it.waitForHistory(here.encode(alice), { from: from[i]! })));
    }
    await broadcast();
    const task = 'history_update';
    await eventually(
      async () => {
        const [published, ...received] = await Promise.all([monitorUrl, first.url, second.url].map(scrape));
        const count = sum(published!, 'galaxy_sse_dispatch_count_total', { task });
        return (
          count >= 5 &&
          received.every((all) => sum(all, 'galaxy_sse_tasks_received_total', { task }) === count)
        );
      },
      { what: 'as many tasks received as published' },
    );
    await Promise.all([first, second].map(balances));
    here.closeStreams();
  });

  it('count what nobody understands on the bus', async () => {
    const { amqpUrl } = here.vhost!;
    const connection = await connectAmqp(amqpUrl);
    const channel = await connection.createConfirmChannel();
    const publish = (key: string, body: string | Buffer, contentType = 'application/json') =>
      channel.publish(CONTROL_EXCHANGE, key, Buffer.from(body as string), { contentType });
    for (const body of ['{', '[]', '{"task":"tidy_up"}', '{"task":"notify_users","kwargs":1}'])
      publish(CONTROL_KEY, body);
    publish(CONTROL_KEY, broadcastBody({}), 'text/plain');
    const tick = { leader: 'nobody', sequence: 1, until: micros() };
    publish(TICK_KEY, '{}');
    publish(TICK_KEY, encodeTick(tick, 'of another installation'));
    publish(TICK_KEY, encodeTick({ ...tick, until: micros() + 3_600e6 }, ID_SECRET));
    const notice = { notice: 'close_stream', process: 'nobody', id: 1 } as const;
    publish(NOTICE_KEY, '{}');
    publish(NOTICE_KEY, encodeNotice(notice, 'of another installation', Date.now()));
    publish(NOTICE_KEY, encodeNotice(notice, ID_SECRET, Date.now() - 120_000));
    for (const { name } of await here.vhost!.queues()) channel.sendToQueue(name, Buffer.from('{}'));
    await channel.waitForConfirms();
    await connection.close();
    for (const reason of METRICS['galaxy.sse.tasks.invalid'].tags.reason) {
      await sent('galaxy.sse.tasks.invalid', { reason });
    }
  });

  it('count the cursors with which tabs come back', async () => {
    await here.stream(first.url, ALICE, { lastEventId: 'yesterday' });
    await here.stream(first.url, ALICE, { lastEventId: '2999-01-01T00:00:00' });
    await here.stream(first.url, ALICE, { lastEventId: '2020-01-01T00:00:00' });
    await sent('galaxy.sse.resume.invalid_cursor', { reason: 'unreadable' });
    await sent('galaxy.sse.resume.invalid_cursor', { reason: 'future' });
    await sent('galaxy.sse.resume.count', { source: 'database', cause: 'reconnect' });
    await sent('galaxy.sse.resume.events', { kind: 'history_update' });
    here.closeStreams();
    let stream = await here.stream(second.url);
    await eventually(
      async () => {
        await stream.waitFor(({ comments }) => comments.includes('keepalive'));
        const { lastEventId } = stream;
        stream.close();
        stream = await here.stream(second.url, ALICE, { lastEventId: lastEventId! });
        return seen().some(
          ({ name, tags }) => name === 'galaxy.sse.resume.count' && tags.source === 'memory',
        );
      },
      { within: 20_000, what: 'a catch-up from memory' },
    );
    here.closeStreams();
  });

  it('count what becomes of the events of a tab that does not read', async () => {
    const reader = await here.stream(second.url, ALICE);
    const { stream, tab } = await stuckTab(second, 'blocked');
    for (let round = 0; round < 2; round += 1) {
      const from = reader.frames.length;
      await here.change(alice);
      await reader.waitForHistory(here.encode(alice), { from, within: 10_000 });
    }
    await sent('galaxy.sse.events.merged', { kind: 'history_update' });
    await eventually(
      async () => {
        await broadcast();
        return tab.state === 'lagging';
      },
      { what: 'an overflow' },
    );
    stream.resume();
    await sent('galaxy.sse.resume.count', { source: 'memory', cause: 'overflow' });
    await sent('galaxy.sse.events.dropped', { kind: 'history_update', reason: 'queue_full' });
    await stuckTab(second, 'blocked');
    await broadcast();
    await sent('galaxy.sse.connections.closed', { reason: 'stalled' });
    await sent('galaxy.sse.events.dropped', { reason: 'closed' });
    await balances(second);
    here.closeStreams();
  });

  it('count what a catch-up tells again that could not be read at once', async () => {
    const { stream, tab } = await stuckTab(first, 'lagging');
    const { recent } = first.worker.manager;
    await here.change(alice);
    await eventually(() => recent.size === 0 && recent.coveredSince > micros() - 2e6, {
      what: 'a memory that ends',
    });
    await database!.refuse();
    database!.cut();
    stream.resume();
    await eventually(
      async () => {
        // One at a time: three would be more than its queue takes.
        if (tab.queue === undefined) await broadcast();
        return seen().some(({ tags }) => tags.reason === 'caught_up');
      },
      { within: 20_000, what: 'an event that the next attempt tells' },
    );
    await database!.resume();
    await sent('galaxy.sse.resume.count', { source: 'database', cause: 'overflow' });
    await balances(first);
    here.closeStreams();
  });

  it('count how streams end, and those that they refuse', async () => {
    const { registry } = second.worker.manager;
    await eventually(() => registry.all.length === 0, { what: 'no stream' });
    const headers = await here.cookieOf(DEMO.anonymousSession);
    const [left, broken] = [await here.stream(second.url), await here.stream(second.url)];
    await here.stream(second.url, '', { headers });
    left.close();
    await sent('galaxy.sse.connections.closed', { reason: 'client' });
    broken.socket!.resetAndDestroy();
    await sent('galaxy.sse.connections.closed', { reason: 'error' });
    await here.sql('UPDATE galaxy_session SET is_valid = false');
    await sent('galaxy.sse.connections.closed', { reason: 'revoked' });
    await here.sql('UPDATE galaxy_session SET is_valid = true');
    await here.stream(second.url);
    second.worker.manager.closeById(registry.all.at(-1)!.id);
    await sent('galaxy.sse.connections.closed', { reason: 'administrator' });

    const fill = async (query: string): Promise<unknown> => {
      for (let i = 0; i < 10; i += 1) {
        const refused = await here.stream(second.url, query).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (refused !== undefined) return refused;
      }
      return undefined;
    };
    expect(String(await fill(ALICE))).toContain('429');
    expect(String(await fill(''))).toContain('429');
    await fill('key=demo-bob');
    expect(String(await fill('key=demo-admin'))).toContain('503');
    for (const reason of METRICS['galaxy.sse.connections.refused'].tags.reason) {
      await sent('galaxy.sse.connections.refused', { reason });
    }
    here.closeStreams();
  });

  it('count why the monitor reads the log anew', async () => {
    const hint = () => here.sql(`NOTIFY galaxy_history_update, '${alice}'`);
    const resync = (cause: ResyncCause) => sent('galaxy.sse.monitor.resync', { cause });
    await resync('takeover');
    const locker = new pg.Client(here.galaxy.database_connection as string);
    locker.on('error', () => {});
    await locker.connect();
    await locker.query('BEGIN; LOCK TABLE history_audit IN ACCESS EXCLUSIVE MODE');
    await hint();
    await sleep(600);
    await locker.query('COMMIT');
    await resync('slow_read');
    await locker.query(
      `INSERT INTO history_audit (history_id, update_time)
       SELECT ${alice}, now() AT TIME ZONE 'UTC' - interval '1 hour' - n * interval '1 microsecond' FROM generate_series(1, 12000) n`,
    );
    await hint();
    await resync('long_log');
    await locker.query('ALTER TABLE history_audit RENAME TO elsewhere');
    await hint();
    await monitor.line('monitor cannot read the log of changes');
    // A tick that stands before the next one of this leader is lost, and what it vouched for is read.
    const connection = await connectAmqp(here.vhost!.amqpUrl);
    const channel = await connection.createConfirmChannel();
    const tick = { leader: 'who is heard once', sequence: 5, until: micros() - 5e6 };
    channel.publish(CONTROL_EXCHANGE, TICK_KEY, encodeTick(tick, ID_SECRET));
    await channel.waitForConfirms();
    await connection.close();
    await sent('galaxy.sse.gap.count', { cause: 'tick_lost' });
    await sent('galaxy.sse.database.left_out', { what: 'history_update' });
    await locker.query('ALTER TABLE elsewhere RENAME TO history_audit');
    await resync('database_unavailable');
    await locker.end();
    await eventually(
      async () => {
        monitorsBroker!.goSilent();
        await here.change(alice);
        await sleep(300);
        monitorsBroker!.cut();
        await monitorsBroker!.resume();
        await sleep(1_500);
        return seen().some(({ tags }) => tags.cause === 'publish_failed');
      },
      { within: 20_000, what: 'a publish that failed' },
    );
    await sent('galaxy.sse.dispatch.skipped_no_qw');
  });

  it('count the gaps that they repair', async () => {
    const gap = (cause: string) => sent('galaxy.sse.gap.count', { cause });
    broker!.cut();
    await gap('reconnected');
    // As a fault of this program would.
    const fault = vi.spyOn(first.worker.manager.registry, 'firstOfUser').mockImplementationOnce(() => {
      throw new TypeError('a fault');
    });
    await here.change(alice);
    await gap('handler_failed');
    fault.mockRestore();
    await sent('galaxy.sse.gap.repaired');
    const headers = await here.cookieOf(DEMO.anonymousSession);
    await here.stream(first.url, '', { headers });
    // A tick of another log. The next tick of the monitor is again of another one.
    const { manager } = first.worker;
    manager.onTick({ leader: 'other', sequence: 1, until: manager.watermark!, position: 'other.5:5:' });
    await sent('galaxy.sse.resume.count', { cause: 'start_over' });
    const locker = new pg.Client(here.galaxy.database_connection as string);
    locker.on('error', () => {});
    await locker.connect();
    await locker.query('BEGIN; LOCK TABLE galaxy_session IN ACCESS EXCLUSIVE MODE');
    await eventually(() => first.lines.some(({ msg }) => String(msg).startsWith('permission check failed')), {
      within: 10_000,
      what: 'permissions that cannot be looked at',
    });
    // As when the process stood still for a minute: the clock of the database then seems to be set back.
    ahead.ms = 61_000;
    await gap('frozen');
    await gap('clock_set_back');
    await eventually(() => first.lines.some(({ msg }) => String(msg).includes('receive only broadcasts')), {
      within: 10_000,
      what: 'streams that are told broadcasts only',
    });
    await locker.query('ROLLBACK');
    await locker.end();
    await gap('unchecked');
    here.closeStreams();
  });

  it('have sent each row of the table with each value of its tags by now, to statsd and to Prometheus', async () => {
    await sent('galaxy.sse.keepalives.written');
    await Promise.all([first, second].map(balances));
    // One that does not read holds up the stop, so that the other's end can be looked at.
    await stuckTab(second, 'blocked');
    await here.stream(second.url);
    await scrape(first.url);
    const stopped = second.stop();
    await sent('galaxy.sse.connections.closed', { reason: 'drained' });
    await scrape(second.url);
    await stopped;
    await first.stop();
    await here.change(alice);
    await sent('galaxy.sse.dispatch.unrouted');
    await scrape(monitorUrl);
    const missing = (all: Series[], form: (name: MetricName) => string[]): Wanted[] =>
      WANTED.filter((wanted) => !isIn(all, wanted, form));
    expect(missing(seen(), statsdForm)).toEqual([]);
    expect(missing(pages.flatMap(ofPage), prometheusForm)).toEqual([]);
    // And nothing that is not in the table.
    const known = new Set(Object.keys(METRICS));
    expect(seen().filter(({ name }) => !known.has(name))).toEqual([]);
  });
});
