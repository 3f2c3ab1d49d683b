/**
 * With the in-process bus, other processes would not receive events. So only one process serves a database, and holds a
 * lock.
 */
import { LightconeError } from '../../core/errors.js';
import type { LeaderLock } from '../../database/port.js';
import { thisHost, type WatchedDatabase } from '../wiring/infrastructure.js';

/** @throws LightconeError NOT_NOW with the name of the process that already serves this database */
export async function becomeSoleServer(db: WatchedDatabase, display: string): Promise<LeaderLock> {
  const lock = db.createLeaderLock('serve', `process ${process.pid} on ${thisHost()}`);
  if (await lock.tryAcquire()) return lock;
  const holder = await lock.holder();
  const who = holder.held && holder.label !== undefined ? holder.label : 'another process';
  throw new LightconeError(
    'NOT_NOW',
    `${display} is served by ${who} already; stop it, or let both use one broker (amqp_internal_connection)`,
  );
}
