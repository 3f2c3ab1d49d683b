/**
 * The components of a worker that depend on its place in the log. They are created at the start, once database and bus
 * are connected.
 */

import type { Cursor } from '../core/events.js';
import { type Before, MARGIN, type PermissionConcern, type Sources } from '../events/kind.js';
import type { EventRegistry } from '../events/registry.js';
import { Batcher } from '../lib/batcher.js';
import { formatIso } from '../lib/time.js';
import { SkippedRows } from '../telemetry/skipped-rows.js';
import { ThrottledLogger } from '../telemetry/throttled-logger.js';
import type { ConnectionManagerOptions } from './manager-options.js';
import { CatchUp, type StatusBatcher } from './resume/catch-up.js';
import { DatabaseClock } from './resume/database-clock.js';
import { GapRepair } from './resume/gap-repair.js';
import type { Positions } from './resume/positions.js';
import type { RecentLog } from './resume/recent-log.js';
import { Resume } from './resume/resume.js';
import { Watermark } from './resume/watermark.js';
import { Dispatcher } from './routing/dispatcher.js';
import type { ViewerRegistry } from './routing/viewers.js';
import type { TabRegistry } from './tabs/registry.js';
import { UncheckedSilence } from './tabs/unchecked-silence.js';
import type { TabWriter } from './writing/tab-writer.js';

/** SSE tasks expire on the bus after this time. Without ticks, the watermark trails the clock by it. */
const TASK_EXPIRY_SECONDS = 10;

export interface DeliveryPipeline {
  watermark: Watermark;
  databaseClock: DatabaseClock;
  dispatcher: Dispatcher;
  resume: Resume;
  gapRepair: GapRepair;
  skippedRows: SkippedRows;
  silence: UncheckedSilence;
}

export function createPipeline(
  {
    kinds,
    config,
    changeLog,
    positions: stored,
    notifications,
    returning,
    clock,
    encodeId,
    decodeId,
    logger,
    metrics,
  }: ConnectionManagerOptions,
  {
    registry,
    viewers,
    writer,
    recent,
    positions,
  }: {
    registry: TabRegistry;
    viewers: ViewerRegistry;
    writer: TabWriter;
    recent: RecentLog;
    positions: Positions;
  },
  /** The database clock. */
  now: Cursor,
  recheck: (concern: PermissionConcern) => void,
): DeliveryPipeline {
  const databaseClock = new DatabaseClock(clock, () => changeLog.now(), now);
  databaseClock.onStepBack((to, from) => {
    logger.warn(
      { to: formatIso(to), from: formatIso(from) },
      'database clock was set back: tabs with an id from the repeated time receive everything that they may have missed',
    );
  });
  // Only a stored moment becomes an id, so that a worker which starts after a backward step of the clock knows it.
  const initial = Math.min(now - MARGIN, positions.newest()?.moment ?? now);
  const watermark = new Watermark(
    clock,
    databaseClock,
    initial,
    config.attachToGalaxy ? TASK_EXPIRY_SECONDS : undefined,
    positions.ofId(initial) ?? undefined,
  );
  const dispatcher = new Dispatcher({
    kinds,
    registry,
    viewers,
    recent,
    watermark,
    writer,
    encodeId,
    decodeId,
    recheck,
    clock,
  });
  // Three statements per status: batches keep a storm of reconnects from becoming a storm of statements.
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
  const skippedRows = new SkippedRows({ logger, clock, metrics });
  const gapRepair = new GapRepair({
    kinds,
    sources: { changeLog, notifications },
    dispatcher,
    watermark,
    positions,
    readPositions: async () => {
      const log = positions.log();
      if (log !== undefined) positions.beginAgain(log, await stored.entries());
    },
    databaseClock,
    skippedRows,
    logger,
    metrics,
  });
  // Tabs that reconnected before the step was detected were caught up from a moment that the clock reaches again.
  databaseClock.onStepBack(() => gapRepair.request('clock_set_back'));
  return {
    skippedRows,
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
        skippedRows,
        metrics,
      }),
      writer,
      viewers,
      positions,
      watermark,
      databaseClock,
      encodeId,
      throttledLogger: new ThrottledLogger(logger, clock),
    }),
    gapRepair,
    silence: new UncheckedSilence({ dispatcher, watermark, gapRepair, logger }),
  };
}

/**
 * Fills the recent log from the database, so that tabs of other workers can be caught up from memory at once. Tasks
 * that arrive meanwhile must be recorded, too: connect the bus first, read second, accept tabs third.
 * @throws LightconeError DATABASE_UNAVAILABLE
 */
export async function preload(
  kinds: EventRegistry,
  sources: Sources,
  skippedRows: SkippedRows,
  recent: RecentLog,
  before: Before,
): Promise<void> {
  const read = await Promise.all(
    kinds.events.map(({ event, preload }) =>
      preload === 'never' ? [] : skippedRows.unlessBroken(event, preload(sources, before), []),
    ),
  );
  for (const { owner, subject, at, updateTime } of read.flat().sort((a, b) => a.at - b.at)) {
    if (owner.userId !== undefined) recent.recordUser(owner.userId, subject, at, updateTime);
    if (owner.sessionId !== undefined) recent.recordSession(owner.sessionId, subject, at, updateTime);
  }
  // The result lacks what became visible before the first step.
  recent.startCovering(Math.max(before.floor, before.steps[0]?.moment ?? 0), before.now);
}
