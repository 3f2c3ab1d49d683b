/**
 * Delivers a control task to the tabs concerned. A task for users without a tab here costs a map look-up and an entry
 * in the recent log.
 */
import type { Cursor, HistoryId, Micros, SessionId, Task, UserId } from '../../core/events.js';
import type { WriteMark } from '../../database/port.js';
import type { EventId, Frame } from '../../events/frame.js';
import {
  MEMORY_MARGIN,
  type OpenStreams,
  type PermissionConcern,
  type Subject,
  type Viewer,
} from '../../events/kind.js';
import { marksFrame } from '../../events/marks-reached.js';
import type { EventRegistry } from '../../events/registry.js';
import type { Clock } from '../../lib/clock.js';
import type { RecentLog } from '../resume/recent-log.js';
import type { Watermark } from '../resume/watermark.js';
import { kindOf, type PermissionKind } from '../tabs/permission-round.js';
import type { TabRegistry } from '../tabs/registry.js';
import type { Tab } from '../tabs/tab.js';
import type { TabWriter } from '../writing/tab-writer.js';
import { type Answer, AwaitedMarks } from './awaited-marks.js';
import type { ViewerHolder, ViewerRegistry } from './viewers.js';

export interface DispatcherOptions {
  kinds: EventRegistry;
  registry: TabRegistry;
  viewers: ViewerRegistry;
  recent: RecentLog;
  watermark: Watermark;
  writer: TabWriter;
  encodeId: (id: HistoryId) => string;
  decodeId: (text: string) => HistoryId | undefined;
  recheck: (concern: PermissionConcern) => void;
  clock: Clock;
}

export class Dispatcher implements OpenStreams {
  readonly encodeId: (id: HistoryId) => string;
  readonly decodeId: (text: string) => HistoryId | undefined;
  readonly recheck: (concern: PermissionConcern) => void;
  /** Streams with such a credential receive only broadcasts. The memory still records their events. */
  muted: ReadonlySet<PermissionKind> = new Set();

  private readonly marks: AwaitedMarks;

  constructor(private readonly options: DispatcherOptions) {
    this.marks = new AwaitedMarks(options.clock);
    this.encodeId = options.encodeId;
    this.decodeId = options.decodeId;
    this.recheck = options.recheck;
  }

  /** @returns the audit time of the change if a tab here received it and the time is known */
  run(task: Task): Micros | undefined {
    return this.options.kinds.ofTask(task.task)?.deliver(task, this);
  }

  // --- what a kind of event sees ---------------------------------------------------------------------------------------

  get eventId(): EventId {
    return this.options.watermark.eventId;
  }

  hasUser(userId: UserId): boolean {
    return this.options.registry.firstOfUser(userId) !== undefined;
  }

  hasSession(sessionId: SessionId): boolean {
    return this.options.registry.firstOfSession(sessionId) !== undefined;
  }

  toUser(userId: UserId, frames: readonly Frame[]): void {
    for (let tab = this.options.registry.firstOfUser(userId); tab; tab = tab.nextOfUser) this.to(tab, frames);
  }

  toSession(sessionId: SessionId, frames: readonly Frame[]): void {
    for (let tab = this.options.registry.firstOfSession(sessionId); tab; tab = tab.nextOfSession) {
      this.to(tab, frames);
    }
  }

  toAll(frame: Frame): void {
    const { registry, writer } = this.options;
    const { all } = registry;
    for (let i = 0; i < all.length; i += 1) writer.put(all[i]!, frame);
  }

  to(tab: Tab, frames: readonly Frame[]): void {
    if (this.muted.size > 0) {
      const kind = kindOf(tab);
      if (kind !== undefined && this.muted.has(kind)) return;
    }
    for (const frame of frames) this.options.writer.put(tab, frame);
  }

  get hasViewers(): boolean {
    return this.options.viewers.size > 0;
  }

  *viewersOf(historyId: HistoryId): Iterable<Tab> {
    const viewers = this.options.viewers.get(historyId);
    if (viewers === undefined || this.muted.has('viewed')) return;
    const { registry } = this.options;
    for (const userId of viewers.users) {
      for (let tab = registry.firstOfUser(userId); tab; tab = tab.nextOfUser) yield tab;
    }
    for (const sessionId of viewers.sessions) {
      for (let tab = registry.firstOfSession(sessionId); tab; tab = tab.nextOfSession) yield tab;
    }
    yield* viewers.tabs;
  }

  /**
   * A reconnecting browser sends its subscriptions only after its stream is open, so the catch-up of the tab lacks
   * changes in between.
   */
  subscribe(viewer: Viewer, historyId: HistoryId): readonly Tab[] {
    const { viewers, recent } = this.options;
    const holder = this.holderOf(viewer);
    if (holder === undefined || !viewers.subscribe(holder, historyId)) return [];
    const delivered = recent.lastDelivery(historyId) ?? 0;
    return this.tabsOf(holder).filter(({ resumedFrom }) => {
      if (resumedFrom === undefined) return false;
      const floor = resumedFrom - MEMORY_MARGIN;
      return delivered >= floor || floor < recent.coveredSince;
    });
  }

  unsubscribe(viewer: Viewer, historyId: HistoryId): void {
    const holder = this.holderOf(viewer);
    if (holder !== undefined) this.options.viewers.unsubscribe(holder, historyId);
  }

  /** A signed-in browser sends its user and its session; the user covers both. Undefined if neither has a tab here. */
  private holderOf({ userId, sessionId }: Viewer): Exclude<ViewerHolder, { tab: Tab }> | undefined {
    if (userId !== undefined && this.hasUser(userId)) return { userId };
    if (sessionId !== undefined && this.hasSession(sessionId)) return { sessionId };
    return undefined;
  }

  private tabsOf(holder: Exclude<ViewerHolder, { tab: Tab }>): Tab[] {
    const { registry } = this.options;
    const byUser = 'userId' in holder;
    const tabs: Tab[] = [];
    let tab = byUser ? registry.firstOfUser(holder.userId) : registry.firstOfSession(holder.sessionId);
    for (; tab; tab = byUser ? tab.nextOfUser : tab.nextOfSession) tabs.push(tab);
    return tabs;
  }

  awaitMarks(owner: Viewer, marks: readonly WriteMark[]): void {
    if (this.holderOf(owner) === undefined) return;
    this.tell(this.marks.add(owner, marks, this.eventId.log));
  }

  /** Called at each tick, after all events that the position covers. */
  deliverMarks(): void {
    const { log } = this.eventId;
    if (log !== undefined && this.marks.size > 0) this.tell(this.marks.take(log));
  }

  private tell(answers: Iterable<Answer>): void {
    const { eventId } = this;
    for (const { owner, reached, unknown } of answers) {
      const frames = [
        ...(reached.length > 0 ? [marksFrame(reached, false, eventId)] : []),
        ...(unknown.length > 0 ? [marksFrame(unknown, true, eventId)] : []),
      ];
      const holder = this.holderOf(owner);
      for (const tab of holder === undefined ? [] : this.tabsOf(holder)) this.to(tab, frames);
    }
  }

  recordingTime(updateTime?: Micros): Cursor {
    return this.options.watermark.latestFor(updateTime);
  }

  rememberUser(userId: UserId, subject: Subject, at: Cursor, updateTime: Micros): void {
    this.options.recent.recordUser(userId, subject, at, updateTime);
  }

  rememberSession(sessionId: SessionId, subject: Subject, at: Cursor, updateTime: Micros): void {
    this.options.recent.recordSession(sessionId, subject, at, updateTime);
  }
}
