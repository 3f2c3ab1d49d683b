/** What a worker needs once it knows where it stands in the log: made at the start, when database and bus are there. */
import { Batcher } from '../core/batcher.js';
import type { Cursor } from '../core/events.js';
import { formatIso } from '../core/time.js';
import { type Before, MARGIN, type PermissionConcern, type Sources } from '../events/kind.js';
import type { EventRegistry } from '../events/registry.js';
import { LeftOut } from '../telemetry/left-out.js';
import { OncePerInterval } from '../telemetry/once-per-interval.js';
import { CatchUp, type StatusBatcher } from './catch-up.js';
import { DatabaseClock } from './database-clock.js';
import { Dispatcher } from './dispatcher.js';
import { GapRepair } from './gap-repair.js';
import type { Outlet } from './outlet.js';
import type { ManagerParts } from './parts.js';
import type { Positions } from './positions.js';
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
  {
    kinds,
    config,
    changeLog,
    notifications,
    returning,
    clock,
    encodeId,
    decodeId,
    logger,
    metrics,
  }: ManagerParts,
  {
    registry,
    viewers,
    outlet,
    recent,
    positions,
  }: {
    registry: TabRegistry;
    viewers: ViewerRegistry;
    outlet: Outlet;
    recent: RecentLog;
    positions: Positions;
  },
  /** The database clock. */
  now: Cursor,
  recheck: (concern: PermissionConcern) => void,
): Live {
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
    now - MARGIN,
    config.attachToGalaxy ? TASK_EXPIRY_SECONDS : undefined,
    positions.at(now - MARGIN) ?? undefined,
  );
  const dispatcher = new Dispatcher({
    kinds,
    registry,
    viewers,
    recent,
    watermark,
    outlet,
    encodeId,
    decodeId,
    recheck,
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
  const gapRepair = new GapRepair({
    kinds,
    sources: { changeLog, notifications },
    dispatcher,
    watermark,
    databaseClock,
    leftOut,
    logger,
    metrics,
  });
  // Tabs that came back before it was noticed were caught up from a moment that was to come again.
  databaseClock.onStepBack(() => gapRepair.request('clock_set_back'));
  return {
    leftOut,
    watermark,
    databaseClock,
    dispatcher,
    resume: new Resume({
      catchUp: new CatchUp({
        kinds,
        changeLog: returning.changeLog,
        recent,
        statuses,
        positions,
        now: () => databaseClock.now(),
        leftOut,
        metrics,
      }),
      outlet,
      viewers,
      positions,
      watermark,
      databaseClock,
      encodeId,
      complain: new OncePerInterval(logger, clock),
    }),
    gapRepair,
  };
}

/**
 * Fills the recent log from the database, so that tabs from other workers can be caught up from memory at once. Tasks
 * that arrive meanwhile must be recorded as well: the bus comes first, this read second, tabs third.
 *
 * @throws LightconeError DATABASE_UNAVAILABLE
 */
export async function preload(
  kinds: EventRegistry,
  sources: Sources,
  leftOut: LeftOut,
  recent: RecentLog,
  before: Before,
): Promise<void> {
  const read = await Promise.all(
    kinds.events.map(({ event, preload }) =>
      preload === 'never' ? [] : leftOut.unlessBroken(event, preload(sources, before), []),
    ),
  );
  for (const { owner, subject, at, updateTime } of read.flat().sort((a, b) => a.at - b.at)) {
    if (owner.userId !== undefined) recent.recordUser(owner.userId, subject, at, updateTime);
    if (owner.sessionId !== undefined) recent.recordSession(owner.sessionId, subject, at, updateTime);
  }
  // What became visible before the first step is not in the answer.
  recent.startCovering(Math.max(before.floor, before.steps[0]?.moment ?? 0));
}
