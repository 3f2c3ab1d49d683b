/** Changes histories at a rate, each change a transaction of its own. Asked by `WriteOptions`, answers how many it made. */
import pg from 'pg';

export interface WriteOptions {
  url: string;
  perSecond: number;
  histories: number;
  /** Id of the first one. */
  first?: number;
  seconds: number;
}

const CONNECTIONS = 8;

process.on('message', (options: WriteOptions) => {
  write(options).then(
    (value) => process.send!({ value }),
    (error: Error) => process.send!({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));

async function write({ url, perSecond, histories, first = 1, seconds }: WriteOptions): Promise<number> {
  const clients = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const client = new pg.Client(url);
      await client.connect();
      return client;
    }),
  );
  const begin = performance.now();
  let made = 0;
  await Promise.all(
    clients.map(async (client) => {
      for (;;) {
        const elapsed = (performance.now() - begin) / 1000;
        if (elapsed >= seconds) return;
        if (made >= elapsed * perSecond) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          continue;
        }
        const historyId = first + (made % histories);
        made += 1;
        await client.query({
          name: 'change',
          text: 'UPDATE history SET name = $1 WHERE id = $2',
          values: [String(made), historyId],
        });
      }
    }),
  );
  await Promise.all(clients.map((client) => client.end()));
  return made;
}
