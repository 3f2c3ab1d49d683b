/** Composition of `lightcone notify`: a notification or a broadcast from the command line. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';
import type { UserId } from '../../core/events.js';
import { SqlNotificationLog } from '../../database/notification-log.js';
import type { Database } from '../../database/port.js';
import { checkSchema } from '../../database/schema.js';
import { IdCodec } from '../../http/auth/id-codec.js';
import { Outbox } from '../../outbox/outbox.js';
import { OutboxPublisher, type OutboxPublisherOptions } from '../../outbox/publisher.js';
import { noOutbox, type OutboxWriter } from '../../outbox/writer.js';
import { NotificationManager } from '../../resources/notifications/manager.js';
import { CountingMetrics } from '../../telemetry/counting-metrics.js';
import { noMetrics } from '../../telemetry/metrics.js';
import { startSoon } from '../processes/start-soon.js';
import { createBus } from '../wiring/infrastructure.js';
import { type AdminOptions, refuseAttached, runtime, withDatabase } from './admin.js';

/** @param message Markdown; @param email undefined for a broadcast */
export async function notify(
  config: Config,
  { email, ...message }: { subject: string; message: string; email: string | undefined },
  { logger, print }: AdminOptions,
): Promise<void> {
  refuseAttached(config, 'notify', "use Galaxy's own notifications");
  if (!config.features.notifications) {
    throw new LightconeError(
      'CONFIG_INVALID',
      'notify: notifications are disabled; set enable_notification_system: true',
    );
  }
  await withDatabase(config, logger, async (db) => {
    await checkSchema(db);
    const idCodec = new IdCodec(config.auth.idSecret);
    const encodeId = (id: number): string => idCodec.encodeId(id);
    const log = new SqlNotificationLog(db, encodeId);
    const send = async (outboxWriter: OutboxWriter): Promise<void> => {
      const notifications = new NotificationManager(db, log, outboxWriter, encodeId);
      if (email === undefined) {
        await notifications.broadcast({ source: 'lightcone', variant: 'info', content: message });
      } else {
        const category = 'message';
        const content = { ...message, category };
        const recipients = { userIds: [await userByEmail(db, email)], groupIds: [], roleIds: [] };
        const draft = { source: 'lightcone', variant: 'info', category, content };
        const { sent } = await notifications.send(recipients, [draft]);
        if (sent === 0)
          throw new LightconeError('CONFLICT', `${email} has disabled messages; nothing was sent`);
      }
    };
    const outbox = new Outbox(db, randomBytes(12).toString('hex'));
    if (!config.sse.enabled) {
      await send(noOutbox);
      print('stored; enable_sse_updates is off, so open tabs see it when they poll');
    } else if (config.bus.kind === 'in-process') {
      await send({
        async add(tx, ...entry) {
          await outbox.add(tx, ...entry);
          await outbox.ring(tx);
        },
        wake() {},
      });
      print('stored; "lightcone serve" delivers it to open tabs, now or at its next start');
    } else {
      await announce(config, { outbox, notifications: log, encodeId, logger }, send);
      print('sent');
    }
  });
}

/** With a broker, this process publishes its own messages. */
async function announce(
  config: Config,
  parts: Pick<OutboxPublisherOptions, 'outbox' | 'notifications' | 'encodeId' | 'logger'>,
  send: (outboxWriter: OutboxWriter) => Promise<void>,
): Promise<void> {
  const name = `${config.serverName}.notify.${process.pid}`;
  const bus = await createBus(config, name, new CountingMetrics(noMetrics), runtime(parts.logger));
  await startSoon(bus, 'BUS_UNAVAILABLE');
  const outboxPublisher = new OutboxPublisher({ ...parts, bus, random: Math.random });
  try {
    outboxPublisher.start();
    await send(outboxPublisher);
    await outboxPublisher.idle();
  } finally {
    await outboxPublisher.stop();
    await bus.stop();
  }
}

async function userByEmail(db: Database, email: string): Promise<UserId> {
  const [row] = await db.all<{ id: number }>(
    'SELECT id FROM galaxy_user WHERE lower(email) = $1 AND (deleted IS NULL OR deleted = false)',
    [email.trim().toLowerCase()],
  );
  if (!row)
    throw new LightconeError('NOT_FOUND', `there is no user ${email}; "lightcone user list" lists all`);
  return row.id;
}
