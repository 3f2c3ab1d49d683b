import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { InProcessBus } from '../../src/bus/in-process/bus.js';
import type { Task } from '../../src/core/events.js';
import { systemClock } from '../../src/lib/clock.js';
import { formatSql } from '../../src/lib/time.js';
import { Outbox } from '../../src/outbox/outbox.js';
import { OutboxPublisher } from '../../src/outbox/publisher.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { type AnyDatabase, type DatabaseFixture, FIXTURES, openMigrated } from '../support/databases.js';

const DAY = 86_400_000_000;

describe.each(FIXTURES)('the outbox on %s', (_, makeFixture) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let published: Task[];
  let lines: { level: number; kind?: string; msg: string }[];
  let bus: InProcessBus;
  let publisher: OutboxPublisher;

  beforeEach(async () => {
    fixture = await makeFixture();
    db = await openMigrated(fixture);
    published = [];
    lines = [];
    const logger = createLogger('info', {}, { write: (line) => void lines.push(JSON.parse(line)) });
    bus = new InProcessBus({ logger, clock: systemClock, metrics: noMetrics });
    bus.subscribe({ onTask: (task) => published.push(task), onTick: () => {}, onGap: () => {} });
    await bus.start();
    publisher = publisherOf('old', logger);
  });
  afterEach(async () => {
    await publisher.stop();
    await bus.stop();
    await db.stop();
    await fixture.close();
  });

  const publisherOf = (owner: string, logger: ReturnType<typeof createLogger>): OutboxPublisher =>
    new OutboxPublisher({
      outbox: new Outbox(db, owner),
      bus,
      notifications: { deliveryOf: async () => undefined, ownForms: async () => [] },
      encodeId: String,
      logger,
      random: () => 0.5,
    });
  const put = async (entry: string, ageMicros = 0): Promise<void> => {
    const due = formatSql((await db.now()) - ageMicros);
    await db.run('INSERT INTO lightcone_outbox (entry, due_time) VALUES ($1, $2)', [entry, due]);
  };
  const waiting = async (): Promise<string[]> => {
    const rows = await db.all<{ entry: string }>('SELECT entry FROM lightcone_outbox ORDER BY id');
    return rows.map(({ entry }) => entry);
  };
  const wakeAndWait = async (): Promise<void> => {
    publisher.wake();
    await publisher.idle();
  };
  const NEWER = '{"kind":"of the next version","id":1}';

  it('leaves what a newer version wrote to a process of that version, says so once, and publishes the rest', async () => {
    for (let n = 0; n < 45; n += 1) await put(NEWER);
    await put('{"kind":"entry_points","userId":7}');
    publisher.start();
    await publisher.idle();
    await vi.waitFor(() => expect(published).toEqual([{ task: 'entry_point_update', userId: 7 }]));
    await put(NEWER);
    await wakeAndWait();
    expect(await waiting()).toEqual(Array(46).fill(NEWER));
    expect(lines.filter(({ kind }) => kind === 'of the next version')).toHaveLength(1);
    // Nobody holds them, and this process has nothing more to do.
    expect((await new Outbox(db, 'new').claim()).foreign).toHaveLength(20);
    await wakeAndWait();
    expect(lines).toHaveLength(1);
  });

  it('drops it after a day, and says so', async () => {
    await put(NEWER, DAY + 60_000_000);
    publisher.start();
    await publisher.idle();
    expect(await waiting()).toEqual([]);
    expect(lines).toMatchObject([{ level: 50, kind: 'of the next version' }]);
  });

  it.each(['no JSON', 'null', '5', '{"id":1}'])('drops %s, which is no entry, and says so', async (text) => {
    await put(text);
    publisher.start();
    await publisher.idle();
    expect(await waiting()).toEqual([]);
    expect(lines).toMatchObject([{ level: 50, msg: 'outbox entry dropped: it can never be published' }]);
  });
});
