import { createSocket } from 'node:dgram';

/** What a statsd server would receive, datagram by datagram. */
export class StatsdReceiver {
  readonly datagrams: string[] = [];
  #onDatagram = new Set<() => void>();
  readonly #socket = createSocket('udp4');

  static async start(): Promise<StatsdReceiver> {
    const receiver = new StatsdReceiver();
    receiver.#socket.on('message', (message) => {
      receiver.datagrams.push(message.toString('utf8'));
      for (const look of receiver.#onDatagram) look();
    });
    await new Promise<void>((resolve) => receiver.#socket.bind(0, '127.0.0.1', resolve));
    return receiver;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Resolves with the first datagram, past or future, that fits. */
  waitFor(predicate: (datagram: string) => boolean, deadlineMs = 5_000): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.datagrams.find(predicate);
        if (found === undefined) return;
        clearTimeout(timer);
        this.#onDatagram.delete(look);
        resolve(found);
      };
      const timer = setTimeout(() => {
        this.#onDatagram.delete(look);
        reject(new Error(`no such datagram within ${deadlineMs} ms among ${JSON.stringify(this.datagrams)}`));
      }, deadlineMs);
      this.#onDatagram.add(look);
      look();
    });
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}
