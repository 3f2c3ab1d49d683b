import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/free-port.js';
import { Child } from './child.js';
import type { Ask, PublishOptions, PublishResult } from './load.js';
import type { Usage } from './server.js';

/** A worker under test and a load generator, each a process of its own. */
export class Stage {
  private constructor(
    readonly port: number,
    readonly amqp: string,
    private readonly server: Child,
    private readonly load: Child,
  ) {}

  static async set(amqp: string, env: NodeJS.ProcessEnv = {}): Promise<Stage> {
    const port = await freePort();
    const server = await Child.start('server', {
      args: [String(port)],
      env: { BENCH_AMQP_URL: amqp, ...env },
    });
    const load = await Child.start('load', { ready: false });
    return new Stage(port, amqp, server, load);
  }

  /** Opens streams of distinct users. @returns seconds */
  open(
    count: number,
    { first = 0, path = '/api/events/stream?key=bench-{i}', header = '', stalled = 0 } = {},
  ) {
    return this.asked<number>({ open: { port: this.port, count, first, path, header, stalled } });
  }

  publish(options: Omit<PublishOptions, 'amqp'>): Promise<PublishResult> {
    return this.asked({ publish: { amqp: this.amqp, ...options } });
  }

  usage(after?: 'gc'): Promise<Usage> {
    return this.server.ask({ ask: after ?? 'usage' });
  }

  /** All streams, and waits until the server knows. */
  async close(): Promise<void> {
    await this.asked({ close: true });
    while ((await this.usage()).tabs > 0) await sleep(50);
  }

  async strike(): Promise<void> {
    await this.load.stop();
    await this.server.stop();
  }

  private asked<Answer>(ask: Ask): Promise<Answer> {
    return this.load.ask(ask);
  }
}
