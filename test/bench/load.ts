/** The load generator, a process of its own: opens streams, publishes, counts. Asked by messages, answers each with one. */
import { type AmqpPublisher, openPublisher } from './amqp-publisher.js';
import { now, payloadOf } from './payload.js';
import { type Percentiles, percentiles } from './statistics.js';
import { type OpenOptions, Streams } from './streams.js';

export interface PublishOptions {
  amqp: string;
  seconds: number;
  /** Everybody, or in turn one of so many users. */
  to: '*' | number;
  /** Publications a second; or as fast as they are delivered: */
  perSecond?: number;
  /** so many whose deliveries are outstanding. */
  window?: number;
  /** Bytes of an event, about. */
  size?: number;
  /** Streams that a publication reaches. */
  reaches: number;
  timed?: boolean;
}

export interface PublishResult {
  published: number;
  delivered: number;
  /** Deliveries of a stream: fewest and most among those that read. */
  fewest: number;
  most: number;
  /** From the first publication to the last delivery. */
  seconds: number;
  fromPublication: Percentiles | undefined;
  fromReceipt: Percentiles | undefined;
  closed: number;
  /** CPU time of this process. */
  cpuSeconds: number;
}

export type Ask = { open: OpenOptions } | { publish: PublishOptions } | { close: true };

const streams = new Streams();
let publisher: { url: string; is: AmqpPublisher } | undefined;

process.on('message', (ask: Ask) => {
  answer(ask).then(
    (value) => process.send!({ value }),
    (error: Error) => process.send!({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));

async function answer(ask: Ask): Promise<unknown> {
  if ('open' in ask) return streams.open(ask.open);
  if ('publish' in ask) return publish(ask.publish);
  streams.close();
  return undefined;
}

async function publish(options: PublishOptions): Promise<PublishResult> {
  if (publisher?.url !== options.amqp)
    publisher = { url: options.amqp, is: await openPublisher(options.amqp) };
  const { seconds, to, reaches, size = 120, perSecond, window = 1, timed } = options;
  const before = streams.delivered;
  const closedBefore = streams.closed;
  const eventsBefore = streams.all.map(({ events }) => events);
  streams.fromPublication = timed ? [] : undefined;
  streams.fromReceipt = [];
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const end = begin + seconds * 1000;
  let published = 0;
  let lastDelivery = begin;
  const one = (): void => {
    const payload = payloadOf(now(), size);
    publisher!.is.publish(
      to === '*'
        ? { task: 'notify_broadcast', payload }
        : { task: 'notify_users', userIds: [1 + ((published * 7919) % to)], payload },
    );
    published += 1;
  };
  await new Promise<void>((resolve) => {
    const loop = (): void => {
      lastDelivery = performance.now();
      const outstanding = published * reaches - (streams.delivered - before);
      if (perSecond === undefined && lastDelivery < end) {
        for (let free = window * reaches - outstanding; free >= reaches; free -= reaches) one();
      } else if (outstanding === 0 && lastDelivery >= end) resolve();
    };
    streams.onDelivered = loop;
    const pace = setInterval(() => {
      const elapsed = Math.min(performance.now(), end) - begin;
      if (perSecond !== undefined) while (published < (elapsed / 1000) * perSecond) one();
      if (performance.now() >= end) {
        clearInterval(pace);
        if (published * reaches === streams.delivered - before) resolve();
        // What has not come after 5 s is lost, and the result says so.
        setTimeout(resolve, 5000).unref();
      }
    }, 1);
    loop();
  });
  streams.onDelivered = () => {};
  const used = process.cpuUsage(cpu);
  const perStream = streams.all
    .map(({ events, socket }, i) => (socket.isPaused() ? undefined : events - eventsBefore[i]!))
    .filter((events) => events !== undefined);
  return {
    published,
    delivered: streams.delivered - before,
    fewest: perStream.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    most: perStream.reduce((a, b) => Math.max(a, b), 0),
    seconds: (lastDelivery - begin) / 1000,
    fromPublication: percentiles(streams.fromPublication),
    fromReceipt: timed ? percentiles(streams.fromReceipt) : undefined,
    closed: streams.closed - closedBefore,
    cpuSeconds: (used.user + used.system) / 1e6,
  };
}
