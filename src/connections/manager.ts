/**
 * The connection manager: which tabs are open on this worker, how they begin, how they are caught up, and how they end.
 * It receives the bus, and one timer drives everything that happens by the clock.
 *
 * ```
 *   starting ──database clock known──► reading ──recent log filled──► open ──drain──► draining ──stop──► stopped
 *                                      (tasks are kept)         (tabs may come)   (none may come)
 * ```
 */

import type { BusHandler, GapCause } from '../bus/port.js';
import type { Cursor, Micros, Task, Tick } from '../core/events.js';
import { commentFrame, EventId, type Frame } from '../events/frame.js';
import { setAlignedInterval } from '../lib/aligned-interval.js';
import { Backoff } from '../lib/backoff.js';
import { type Lifecycle, sleep } from '../lib/lifecycle.js';
import { formatIso, secondsToMicros } from '../lib/time.js';
import { ThrottledLogger } from '../telemetry/throttled-logger.js';
import type { ConnectionManagerOptions } from './manager-options.js';
import { createPipeline, type DeliveryPipeline, preload } from './pipeline.js';
import { CallerMoments } from './resume/caller-moments.js';
import type { CatchUpCause } from './resume/catch-up.js';
import { Positions } from './resume/positions.js';
import { RecentLog } from './resume/recent-log.js';
import { ViewerRegistry } from './routing/viewers.js';
import { Admission } from './tabs/admission.js';
import { Refusals } from './tabs/open-streams.js';
import { type CloseReason, type OpenRequest, OpenTabs } from './tabs/open-tabs.js';
import { PermissionCheck } from './tabs/permissions.js';
import { TabRegistry } from './tabs/registry.js';
import type { Tab } from './tabs/tab.js';
import { TabWriter } from './writing/tab-writer.js';

/** Entries of the recent log: 40 bytes each, so 5 MiB for the life of the worker. */
const RECENT_CAPACITY = 131_072;

type ManagerState = 'starting' | 'reading' | 'open' | 'draining' | 'stopped';

export class ConnectionManager implements BusHandler, Lifecycle {
  readonly registry = new TabRegistry();
  readonly viewers = new ViewerRegistry();
  readonly writer: TabWriter;
  readonly recent: RecentLog;
  readonly positions: Positions;
  readonly admission: Admission;
  readonly refusals = new Refusals(100);
  readonly moments: CallerMoments;
  private readonly tabs: OpenTabs;
  private readonly permissionCheck: PermissionCheck;
  /** Undefined until the database clock is known. */
  private pipeline: DeliveryPipeline | undefined;
  /** Tasks that arrived during the first read. The read covers earlier ones. */
  private early: Task[] = [];
  private state: ManagerState = 'starting';
  private starting: Promise<void> | undefined;
  private endSeconds: (() => void) | undefined;
  private keepaliveFrame: Frame | undefined;
  private readonly stopping = new AbortController();
  private readonly throttledLogger: ThrottledLogger;

  constructor(private readonly parts: ConnectionManagerOptions) {
    const { config } = parts;
    this.throttledLogger = new ThrottledLogger(parts.logger, parts.clock);
    this.admission = new Admission(config, this.registry, parts.metrics);
    this.writer = new TabWriter(
      config.queueSize,
      (tab) => this.resume(tab, tab.eventId.cursor, 'overflow'),
      (tab, error) => this.tabs.onFailed(tab, error),
      parts.createDirectWrites,
    );
    this.recent = new RecentLog(RECENT_CAPACITY, secondsToMicros(config.recentWindowSeconds));
    this.positions = new Positions(secondsToMicros(config.rowClockSeconds));
    this.moments = new CallerMoments({
      positions: this.positions,
      recentWindowSeconds: config.recentWindowSeconds,
      databaseClock: () => this.pipeline?.databaseClock,
      metrics: parts.metrics,
    });
    this.tabs = new OpenTabs({
      ...parts,
      registry: this.registry,
      viewers: this.viewers,
      writer: this.writer,
      keepalive: (tab) => this.keepalive(tab),
    });
    this.permissionCheck = new PermissionCheck({
      registry: this.registry,
      viewers: this.viewers,
      source: parts.permissions,
      close: (tab, reason) => this.close(tab, reason),
      logger: parts.logger,
      clock: parts.clock,
    });
  }

  get ready(): boolean {
    return this.state === 'open';
  }

  get draining(): boolean {
    return this.state === 'draining' || this.state === 'stopped';
  }

  /** The cursor of the last tick; undefined before the start. */
  get watermark(): Cursor | undefined {
    return this.pipeline?.watermark.cursor;
  }

  /** The estimated database clock; undefined before the start. */
  estimateNow(): Cursor | undefined {
    return this.pipeline?.watermark.estimateNow();
  }

  /**
   * Call it when the bus subscription works. Reads earlier tasks from the database, so that a tab of another worker can
   * be caught up from this worker's memory at once.
   */
  start(signal?: AbortSignal): Promise<void> {
    this.starting ??= this.begin(signal);
    return this.starting;
  }

  private async begin(signal: AbortSignal | undefined): Promise<void> {
    const { kinds, changeLog, positions, notifications, config, logger } = this.parts;
    const backoff = new Backoff(100, 1000);
    while (this.isStarting) {
      try {
        const log = await changeLog.identify();
        const stored = await positions.entries();
        const now = await changeLog.now();
        if (!this.isStarting) return;
        if (this.pipeline === undefined) this.positions.begin(log, stored);
        this.pipeline ??= createPipeline(this.parts, this, now, (concern) =>
          this.permissionCheck.look(concern),
        );
        this.state = 'reading';
        this.early = [];
        const floor = now - secondsToMicros(config.recentWindowSeconds);
        await preload(kinds, { changeLog, notifications }, this.pipeline.skippedRows, this.recent, {
          floor,
          now: Math.max(now, this.positions.reached),
          steps: this.positions.steps(floor, now),
        });
        if (!this.isStarting) return;
        this.state = 'open';
      } catch (error) {
        if (!this.isStarting) return;
        logger.warn({ err: error }, 'recent changes cannot be read from the database yet: retrying');
        await this.pause(backoff.next(), signal);
      }
    }
    if (this.state !== 'open') return;
    this.endSeconds = setAlignedInterval(1000, this.parts.clock, () => this.everySecond());
    // Now, and not on arrival, because the recent log is ordered by time.
    for (const task of this.early.splice(0)) this.runEarly(task);
  }

  private runEarly(task: Task): void {
    try {
      this.onTask(task);
    } catch (error) {
      this.parts.logger.error({ err: error }, 'message of the start not handled: please report this error');
      this.onGap('handler_failed');
    }
  }

  /** A stop ends it. @throws the signal's reason when that is aborted */
  private async pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const stopped = this.stopping.signal;
    await sleep(ms, signal ? AbortSignal.any([signal, stopped]) : stopped).catch(() => {});
    signal?.throwIfAborted();
  }

  private get isStarting(): boolean {
    return this.state === 'starting' || this.state === 'reading';
  }

  // --- the bus -----------------------------------------------------------------------------------------------------

  onTask(task: Task): void {
    if (this.state === 'reading') {
      this.early.push(task);
      return;
    }
    const changedAt = this.pipeline?.dispatcher.run(task);
    if (changedAt !== undefined) this.measureDelivery(changedAt);
  }

  onTick({ leader, until, position }: Tick): void {
    if (this.pipeline?.watermark.advance(until, position) !== false) {
      // What was delivered from the other log may never have happened in this one.
      if (position !== undefined && this.positions.add(until, position)) this.startOver();
      this.pipeline?.dispatcher.deliverMarks();
      return;
    }
    this.parts.metrics.increment('galaxy.sse.tasks.invalid', 1, { reason: 'tick_ahead' });
    this.throttledLogger.warn(
      { leader, until: formatIso(until), databaseClock: formatIso(this.pipeline.watermark.estimateNow()) },
      "tick ignored: it is ahead of the database's clock; check the clock of its sender",
    );
  }

  onGap(cause: GapCause): void {
    this.pipeline?.gapRepair.request(cause);
  }

  /** Both moments are the database's, as far as this worker knows it, so clock differences between hosts cancel out. */
  private measureDelivery(updateTime: Micros): void {
    if (this.pipeline === undefined) return;
    const { watermark } = this.pipeline;
    setImmediate(() => {
      const ms = Math.max(0, (watermark.estimateNow() - updateTime) / 1000);
      this.parts.metrics.timing('galaxy.sse.delivery.latency_ms', ms);
    });
  }

  // --- opening and closing -----------------------------------------------------------------------------------------

  /** @returns the cursor from which to catch up */
  acceptCursor(moment: Cursor | undefined): Cursor | undefined {
    return this.moments.accept(moment);
  }

  /** Opens a tab: writes its first bytes; from now on the tab receives events. Ask `admission` first. */
  open(request: OpenRequest): Tab {
    const { since } = request;
    // A reconnecting tab keeps its cursor until its catch-up is complete. If `ready` carried the watermark, a
    // connection that breaks right after it would lose the events in between.
    const eventId = since === undefined ? this.pipeline!.watermark.eventId : new EventId(since);
    const tab = this.tabs.open(request, eventId);
    if (since !== undefined) this.resume(tab, since, 'reconnect');
    return tab;
  }

  /** The socket has closed. May be called for a closed tab. */
  onClosed(tab: Tab, reason: CloseReason): void {
    this.tabs.onClosed(tab, reason);
  }

  /** Closes a tab from this side. */
  close(tab: Tab, reason: CloseReason): void {
    this.tabs.close(tab, reason);
  }

  /** For an administrator. @returns false if there is no such stream */
  closeById(id: number): boolean {
    const tab = this.registry.all.find((it) => it.id === id);
    if (tab === undefined) return false;
    this.close(tab, 'administrator');
    return true;
  }

  /** The socket accepts bytes again. */
  onWritable(tab: Tab): void {
    this.writer.onWritable(tab);
  }

  /** The log has changed. All tabs start over, including those in a catch-up. */
  private startOver(): void {
    for (const tab of this.registry.all) {
      if (tab.state === 'live') {
        this.tabs.flush(tab);
        this.resume(tab, tab.eventId.cursor, 'start_over');
      } else if (tab.state !== 'closed') tab.state = 'lagging';
    }
  }

  /** Never rejects. */
  private resume(tab: Tab, since: Cursor, cause: CatchUpCause): void {
    void this.pipeline!.resume.run(tab, since, cause, this.stopping.signal);
  }

  // --- by the clock ------------------------------------------------------------------------------------------------

  private everySecond(): void {
    const { watermark } = this.pipeline!;
    this.pipeline!.databaseClock.look();
    if (this.parts.subscribed()) watermark.trail();
    this.recent.expire(watermark.estimateNow());
    this.keepaliveFrame = undefined;
    this.tabs.onSecond();
    this.checkPermissions();
    this.writer.counts.report(this.parts.metrics);
    this.reportWatermarkAge();
  }

  private checkPermissions(): void {
    const { permissionCheckSeconds } = this.parts.config;
    if (this.tabs.second % permissionCheckSeconds === 0) this.permissionCheck.begin(permissionCheckSeconds);
    void this.permissionCheck.step();
    this.pipeline!.silence.follow(this.permissionCheck.overdue);
  }

  private keepalive(tab: Tab): void {
    // Its cursor must not overtake an event that waits for the end of this turn.
    if (tab.pending !== undefined) return;
    this.keepaliveFrame ??= commentFrame('keepalive', this.pipeline!.watermark.eventId);
    this.writer.writeKeepalive(tab, this.keepaliveFrame);
  }

  private reportWatermarkAge(): void {
    const { watermark } = this.pipeline!;
    const ageMs = Math.max(0, Math.round((watermark.estimateNow() - watermark.cursor) / 1000));
    this.parts.metrics.gauge('galaxy.sse.watermark_age_ms', ageMs);
  }

  // --- the end -----------------------------------------------------------------------------------------------------

  /**
   * Closes all streams: writes queued events, then closes the streams in slices, so that browsers reconnect over some
   * time. Cuts streams that do not take their bytes within `timeoutMs`.
   */
  async drain(timeoutMs: number): Promise<void> {
    if (this.state !== 'stopped') this.state = 'draining';
    this.writer.flush();
    await this.tabs.drain(timeoutMs);
  }

  async stop(): Promise<void> {
    this.state = 'stopped';
    this.endSeconds?.();
    this.endSeconds = undefined;
    this.pipeline?.gapRepair.stop();
    this.stopping.abort();
    this.tabs.closeAll();
    this.writer.counts.report(this.parts.metrics);
  }
}
