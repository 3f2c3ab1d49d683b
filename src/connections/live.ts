/** What a worker needs once it knows where it stands in the log: made at the start, when database and bus are there. */
import { Batcher } from '../core/batcher.js';
import type { Cursor } from '../core/events.js';
import { formatIso, secondsToMicros } from '../core/time.js';
import type { ChangeLog } from '../database/port.js';
import { LeftOut } from '../telemetry/left-out.js';
import { OncePerInterval } from '../telemetry/once-per-interval.js';
import { CatchUp, type StatusBatcher } from './catch-up.js';
import { DatabaseClock } from './database-clock.js';
import { Dispatcher } from './dispatcher.js';
import { GapRepair } from './gap-repair.js';
import type { Outlet } from './outlet.js';
import type { ManagerParts } from './parts.js';
import type { RecentLog } from './recent-log.js';
import type { TabRegistry } from './registry.js';
import { Resume } from './resume.js';
import type { ViewerRegistry } from './viewers.js';
import { Watermark } from './watermark.js';

/** SSE tasks expire on the bus after so long; a worker that hears no tick trails its watermark by it. */
const TASK_EXPIRY_SECONDS = 10;

export interface Live {
  watermark: Watermark;
  databaseClock: DatabaseClock;
  dispatcher: Dispatcher;
  resume: Resume;
  gapRepair: GapRepair;
  leftOut: LeftOut;
}

export function createLive(
  { config, changeLog, notifications, returning, clock, encodeId, decodeId, logger, metrics }: ManagerParts,
  {
    registry,
    viewers,
    outlet,
    recent,
  }: { registry: TabRegistry; viewers: ViewerRegistry; outlet: Outlet; recent: RecentLog },
  /** The database clock. */
  now: Cursor,
): Live {
  const overlapMicros = secondsToMicros(config.resumeOverlapSeconds);
  const databaseClock = new DatabaseClock(clock, () => changeLog.now(), now);
  databaseClock.onStepBack((to, from) => {
    logger.warn(
      { to: formatIso(to), from: formatIso(from) },
      'the clock of the database was set back; tabs with an id from in between are told all that may be missing',
    );
  });
  const watermark = new Watermark(
    clock,
    databaseClock,
    now - overlapMicros,
    config.attachToGalaxy ? TASK_EXPIRY_SECONDS : undefined,
  );
  const dispatcher = new Dispatcher({
    registry,
    viewers,
    recent,
    watermark,
    outlet,
    overlapMicros,
    encodeId,
    decodeId,
  });
  // Three statements each: a storm of reconnects must not become one of statements.
  const statuses: StatusBatcher | undefined =
    returning.notifications &&
    new Batcher({
      ask: (requests) => returning.notifications!.statuses(requests),
      burst: 4,
      perSecond: 3,
      maxBatch: 1000,
      worthwhile: 500,
      clock,
    });
  const leftOut = new LeftOut({ logger, clock, metrics });
  return {
    leftOut,
    watermark,
    databaseClock,
    dispatcher,
    resume: new Resume({
      catchUp: new CatchUp({
        changeLog: returning.changeLog,
        recent,
        statuses,
        overlapMicros,
        now: () => databaseClock.now(),
        leftOut,
        metrics,
      }),
      outlet,
      viewers,
      watermark,
      databaseClock,
      encodeId,
      complain: new OncePerInterval(logger, clock),
    }),
    gapRepair: new GapRepair({
      changeLog,
      notifications,
      dispatcher,
      watermark,
      databaseClock,
      overlapMicros,
      leftOut,
      logger,
      metrics,
    }),
  };
}

/**
 * Fills the recent log from the database, so that tabs from other workers can be caught up from memory at once. Tasks
 * that arrive meanwhile must be recorded as well: the bus comes first, this read second, tabs third.
 *
 * @throws LightconeError DATABASE_UNAVAILABLE
 */
export async function preload(
  changeLog: ChangeLog,
  { leftOut }: Pick<Live, 'leftOut'>,
  recent: RecentLog,
  since: Cursor,
  now: Cursor,
): Promise<void> {
  const [changes, entryPoints] = await Promise.all([
    changeLog.changesSince(since, { kind: 'all' }),
    leftOut.unlessBroken(
      'interactivetool_entry_point',
      changeLog.entryPointOwnersSince(since, { kind: 'all' }),
      { userIds: [], sessionIds: [] },
    ),
  ]);
  changes.sort((a, b) => a.newest - b.newest);
  for (const { historyId, userId, sessionIds, newest } of changes) {
    if (userId !== undefined) recent.recordUser(userId, historyId, newest, newest);
    for (const sessionId of sessionIds) recent.recordSession(sessionId, historyId, newest, newest);
  }
  // When exactly they changed is not asked for: told too late is told too often, never too seldom.
  for (const userId of entryPoints.userIds) recent.recordEntryPoints({ userId }, now);
  for (const sessionId of entryPoints.sessionIds) recent.recordEntryPoints({ sessionId }, now);
  recent.startCovering(since);
}
