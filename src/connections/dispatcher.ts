/**
 * From a control task to the tabs concerned. A task for users without a tab here costs a map look-up and a line in the
 * recent log.
 */
import type {
  ControlTask,
  EntryPointUpdateTask,
  HistoryId,
  HistoryUpdateTask,
  HistoryViewerTask,
  NotifyUsersTask,
} from '../core/events.js';
import { MAX_IDS_PER_FRAME } from './catch-up.js';
import { eventFrame, type Frame, historyUpdateFrame } from './frame.js';
import type { Outlet } from './outlet.js';
import type { RecentLog } from './recent-log.js';
import type { TabRegistry } from './registry.js';
import type { Tab } from './tab.js';
import type { ViewerHolder, ViewerRegistry } from './viewers.js';
import type { Watermark } from './watermark.js';

export interface DispatcherParts {
  registry: TabRegistry;
  viewers: ViewerRegistry;
  recent: RecentLog;
  watermark: Watermark;
  outlet: Outlet;
  overlapMicros: number;
  encodeId: (id: HistoryId) => string;
  decodeId: (text: string) => HistoryId | undefined;
}

export class Dispatcher {
  constructor(private readonly parts: DispatcherParts) {}

  /** @returns whether a changed history was told to anybody here */
  run(task: ControlTask): boolean {
    switch (task.task) {
      case 'history_update':
        return this.historyUpdate(task);
      case 'notify_users':
        this.notifyUsers(task);
        return false;
      case 'notify_broadcast':
        this.broadcast(task.payload);
        return false;
      case 'entry_point_update':
        this.entryPointUpdate(task);
        return false;
      case 'subscribe_history_viewer':
      case 'unsubscribe_history_viewer':
        this.viewer(task);
        return false;
      case 'reconfigure_watcher':
        return false;
    }
  }

  /** @returns whether anybody here was told */
  historyUpdate(task: HistoryUpdateTask): boolean {
    let told = false;
    const { registry, recent, watermark, viewers } = this.parts;
    const at = watermark.latestFor(task.updateTime);
    const updateTime = task.updateTime ?? 0;
    for (const [userId, historyIds] of task.userUpdates) {
      for (const id of historyIds) recent.recordUser(userId, id, at, updateTime);
      const first = registry.firstOfUser(userId);
      if (first === undefined) continue;
      const frames = this.frames(historyIds, task.updateTime);
      for (let tab: Tab | undefined = first; tab; tab = tab.nextOfUser) this.putAll(tab, frames);
      told = true;
    }
    for (const [sessionId, historyIds] of task.sessionUpdates) {
      for (const id of historyIds) recent.recordSession(sessionId, id, at, updateTime);
      const first = registry.firstOfSession(sessionId);
      if (first === undefined) continue;
      const frames = this.frames(historyIds, task.updateTime);
      for (let tab: Tab | undefined = first; tab; tab = tab.nextOfSession) this.putAll(tab, frames);
      told = true;
    }
    if (viewers.size > 0 && this.toViewers(task)) told = true;
    return told;
  }

  /** Who looks at a history without owning it; a tab that was told as its owner is not told twice. */
  private toViewers(task: HistoryUpdateTask): boolean {
    const toTell = new Map<Tab, Set<HistoryId>>();
    const changed = new Set<HistoryId>();
    for (const ids of task.userUpdates.values()) for (const id of ids) changed.add(id);
    for (const ids of task.sessionUpdates.values()) for (const id of ids) changed.add(id);
    for (const historyId of changed) {
      for (const tab of this.viewingTabs(historyId)) {
        const { userId, sessionId } = tab.principal;
        const told =
          (userId !== undefined && task.userUpdates.get(userId)?.includes(historyId)) ||
          (sessionId !== undefined && task.sessionUpdates.get(sessionId)?.includes(historyId));
        if (told) continue;
        const ids = toTell.get(tab);
        if (ids) ids.add(historyId);
        else toTell.set(tab, new Set([historyId]));
      }
    }
    for (const [tab, ids] of toTell) this.putAll(tab, this.frames([...ids], task.updateTime));
    return toTell.size > 0;
  }

  private *viewingTabs(historyId: HistoryId): Iterable<Tab> {
    const viewers = this.parts.viewers.get(historyId);
    if (viewers === undefined) return;
    const { registry } = this.parts;
    for (const userId of viewers.users) {
      for (let tab = registry.firstOfUser(userId); tab; tab = tab.nextOfUser) yield tab;
    }
    for (const sessionId of viewers.sessions) {
      for (let tab = registry.firstOfSession(sessionId); tab; tab = tab.nextOfSession) yield tab;
    }
    yield* viewers.tabs;
  }

  notifyUsers(task: NotifyUsersTask): void {
    const { registry, watermark, outlet } = this.parts;
    let frame: Frame | undefined;
    for (const userId of task.userIds) {
      for (let tab = registry.firstOfUser(userId); tab; tab = tab.nextOfUser) {
        frame ??= eventFrame('notification_update', task.payload, watermark.position);
        outlet.put(tab, frame);
      }
    }
  }

  broadcast(payload: string): void {
    const { registry, watermark, outlet } = this.parts;
    const frame = eventFrame('broadcast_update', payload, watermark.position);
    const { all } = registry;
    for (let i = 0; i < all.length; i += 1) outlet.put(all[i]!, frame);
  }

  entryPointUpdate(task: EntryPointUpdateTask): void {
    const { registry, watermark, outlet, recent } = this.parts;
    const { userId, sessionId } = task;
    recent.recordEntryPoints(task, watermark.latest);
    const frame = eventFrame('entry_point_update', '{}', watermark.position);
    if (userId !== undefined) {
      for (let tab = registry.firstOfUser(userId); tab; tab = tab.nextOfUser) outlet.put(tab, frame);
    } else if (sessionId !== undefined) {
      for (let tab = registry.firstOfSession(sessionId); tab; tab = tab.nextOfSession) outlet.put(tab, frame);
    }
  }

  /**
   * A browser that comes back sends its subscriptions again only after its stream is open, so what changed in between is
   * not in the tab's catch-up. A history that changed lately is therefore told once to tabs that resumed.
   */
  viewer(task: HistoryViewerTask): void {
    const { registry, viewers, recent, overlapMicros } = this.parts;
    const historyId = this.parts.decodeId(task.historyId);
    if (historyId === undefined) return;
    const { userId, sessionId } = task;
    // A signed-in browser names its user and its session: the user covers both.
    let holder: ViewerHolder | undefined;
    let first: Tab | undefined;
    if (userId !== undefined && registry.firstOfUser(userId)) {
      holder = { userId };
      first = registry.firstOfUser(userId);
    } else if (sessionId !== undefined && registry.firstOfSession(sessionId)) {
      holder = { sessionId };
      first = registry.firstOfSession(sessionId);
    }
    if (holder === undefined) return;
    if (task.task === 'unsubscribe_history_viewer') {
      viewers.unsubscribe(holder, historyId);
      return;
    }
    if (!viewers.subscribe(holder, historyId)) return;
    const frames = this.frames([historyId], undefined);
    const delivered = recent.lastDelivery(historyId) ?? 0;
    for (let tab = first; tab; tab = 'userId' in holder ? tab.nextOfUser : tab.nextOfSession) {
      if (tab.resumedFrom === undefined) continue;
      const floor = tab.resumedFrom - overlapMicros;
      if (delivered >= floor || floor < recent.coveredSince) this.putAll(tab, frames);
    }
  }

  private frames(historyIds: readonly HistoryId[], updateTime: number | undefined): Frame[] {
    const { watermark, encodeId } = this.parts;
    const frames: Frame[] = [];
    for (let start = 0; start < historyIds.length; start += MAX_IDS_PER_FRAME) {
      const ids = historyIds.slice(start, start + MAX_IDS_PER_FRAME).map(encodeId);
      frames.push(historyUpdateFrame({ ids, updateTime }, watermark.position));
    }
    return frames;
  }

  private putAll(tab: Tab, frames: readonly Frame[]): void {
    for (const frame of frames) this.parts.outlet.put(tab, frame);
  }
}
