/**
 * A stream never outlives its permission: every `permission_check_interval` all open streams are looked at again (one
 * question per kind of credential, not per tab), and so are the histories that viewers look at. With many tabs that is a
 * little work each second, so that no event has to wait for all of it.
 */

import type { HistoryId, Principal, SessionId } from '../../core/events.js';
import type { PermissionConcern } from '../../events/kind.js';
import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import type { ViewerHolder, ViewerRegistry } from '../routing/viewers.js';
import type { TabRegistry } from './registry.js';
import type { Tab } from './tab.js';

/** Declared here, answered by the HTTP room's authentication. */
export interface PermissionSource {
  /**
   * Of the principals given, those whose credential no longer grants what it did. Several may have the same credential:
   * asking for it once is the source's business.
   */
  revoked(principals: readonly Principal[]): Promise<Set<Principal>>;
  /** For each caller, of the ids given those that it may see now. */
  accessible(questions: readonly ViewQuestion[]): Promise<Set<HistoryId>[]>;
  /** Nothing that was read of the session before counts any more. */
  forgetSession?(sessionId: SessionId): void;
}

export interface ViewQuestion {
  caller: Principal;
  historyIds: readonly HistoryId[];
}

/** So many tabs are one question, not one each second: an idle worker sends no more than one statement a second in all. */
const SMALLEST_STEP = 1000;
/** Callers, or histories that they look at, in one question. */
const VIEWED_AT_ONCE = 1000;
/** So often at most is something looked at out of turn, whatever the bus brings. */
const URGENT_PAUSE_MS = 100;
/** What was not looked at for longer may have ended: no stream outlives its permission by more than that. */
const LONGEST_UNCHECKED_MS = 60_000;

export class PermissionCheck {
  private running = false;
  /** Tabs at places below this one are still to be looked at in this round. */
  private next = 0;
  private stepSize = 0;
  private viewersDue = false;
  /** Looked at in vain in this round; the longest ago first. */
  private unchecked: Tab[] = [];
  private failing = false;
  private readonly urgentSessions = new Set<SessionId>();
  private readonly urgentHistories = new Set<HistoryId>();
  private pause: NodeJS.Timeout | undefined;
  /** When the round under way began, and the last one that was completed (`monotonic`). */
  private begunAt: number;
  private completeSince: number;

  constructor(
    private readonly options: {
      registry: TabRegistry;
      viewers: ViewerRegistry;
      source: PermissionSource;
      close: (tab: Tab, reason: 'revoked') => void;
      logger: Logger;
      clock: Pick<Clock, 'monotonic'>;
    },
  ) {
    this.begunAt = this.completeSince = options.clock.monotonic();
  }

  /** Whether permissions could not be looked at for so long that nothing personal may be told any more. */
  get isOverdue(): boolean {
    return this.options.clock.monotonic() - this.completeSince > LONGEST_UNCHECKED_MS;
  }

  /** Looks at these at once. */
  look({ sessionId, historyId }: PermissionConcern): void {
    const { registry, viewers, source } = this.options;
    if (sessionId !== undefined) {
      source.forgetSession?.(sessionId);
      if (registry.firstOfSession(sessionId)) this.urgentSessions.add(sessionId);
    }
    if (historyId !== undefined && viewers.get(historyId)) this.urgentHistories.add(historyId);
    this.lookAtUrgent();
  }

  private lookAtUrgent(): void {
    if (this.pause !== undefined || this.urgentSessions.size + this.urgentHistories.size === 0) return;
    this.pause = setTimeout(() => {
      this.pause = undefined;
      this.lookAtUrgent();
    }, URGENT_PAUSE_MS).unref();
    void this.checkUrgent();
  }

  /** Never rejects. What cannot be looked at now is left to the round, which goes on until it can. */
  private async checkUrgent(): Promise<void> {
    const { registry, logger } = this.options;
    const sessions = [...this.urgentSessions];
    const histories = new Set(this.urgentHistories);
    this.urgentSessions.clear();
    this.urgentHistories.clear();
    const tabs: Tab[] = [];
    for (const sessionId of sessions) {
      for (let tab = registry.firstOfSession(sessionId); tab; tab = tab.nextOfSession) tabs.push(tab);
    }
    const failures = [...(await this.checkTabs(tabs)).failures, ...(await this.checkViewers(histories))];
    if (failures.length > 0) {
      logger.debug({ err: failures[0] }, 'a changed permission cannot be looked at now; the next round does');
    }
  }

  /** Begins a round that so many steps complete; one that is still under way goes on instead, unless one step is to do all. */
  begin(steps: number): void {
    if (this.next > 0 && (steps > 1 || this.running)) return;
    this.next = this.options.registry.all.length;
    this.unchecked = [];
    this.stepSize = Math.max(SMALLEST_STEP, Math.ceil(this.next / steps));
    this.viewersDue = true;
    this.begunAt = this.options.clock.monotonic();
  }

  /**
   * Never rejects. What could not be looked at is looked at again in the next step; a question that fails, because the
   * database is away or does not answer this one, keeps no other from being asked.
   */
  async step(): Promise<void> {
    if (this.running) return;
    this.running = true;
    const { unchecked, failures } = await this.checkTabs([...this.takeUnchecked(), ...this.takeStep()]);
    this.unchecked.push(...unchecked);
    if (this.viewersDue) {
      const failed = await this.checkViewers();
      this.viewersDue = failed.length > 0;
      failures.push(...failed);
    }
    if (this.next === 0 && this.unchecked.length === 0 && !this.viewersDue) this.completeSince = this.begunAt;
    if (failures.length > 0 && !this.failing) {
      this.options.logger.warn(
        { err: failures[0] },
        'permissions of open streams cannot be checked; asking again each second',
      );
    }
    this.failing = failures.length > 0;
    this.running = false;
  }

  /** From the end down: the place of a tab that closes is taken by the last one, which has been looked at. */
  private takeStep(): Tab[] {
    const { all } = this.options.registry;
    const end = Math.min(this.next, all.length);
    this.next = Math.max(0, end - this.stepSize);
    return all.slice(this.next, end);
  }

  private takeUnchecked(): Tab[] {
    return this.unchecked.splice(0, this.stepSize).filter(({ state }) => state !== 'closed');
  }

  private async checkTabs(tabs: readonly Tab[]): Promise<{ unchecked: Tab[]; failures: unknown[] }> {
    const unchecked: Tab[] = [];
    const failures: unknown[] = [];
    for (const some of groups(tabs)) {
      try {
        this.closeRevoked(some, await this.options.source.revoked([...new Set(some.map(principalOf))]));
      } catch (error) {
        failures.push(error);
        unchecked.push(...some);
      }
    }
    return { unchecked, failures };
  }

  private closeRevoked(some: readonly Tab[], revoked: ReadonlySet<Principal>): void {
    const { close, logger } = this.options;
    const closed = new Map<Principal, number>();
    for (const tab of some) {
      if (!revoked.has(tab.principal)) continue;
      close(tab, 'revoked');
      closed.set(tab.principal, (closed.get(tab.principal) ?? 0) + 1);
    }
    for (const [{ userId }, tabs] of closed) {
      logger.info({ userId, tabs }, 'streams closed: their permission was revoked');
    }
  }

  /**
   * @param only these histories; else all that are looked at
   * @returns why some could not be looked at
   */
  private async checkViewers(only?: ReadonlySet<HistoryId>): Promise<unknown[]> {
    const { viewers, source } = this.options;
    const failures: unknown[] = [];
    for (const some of inPortions(this.viewingCallers(only))) {
      try {
        const accessible = await source.accessible(some);
        for (const [i, { holders, historyIds }] of some.entries()) {
          const gone = historyIds.filter((id) => !accessible[i]!.has(id));
          for (const holder of holders) for (const id of gone) viewers.unsubscribe(holder, id);
        }
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }

  /** Once per caller, however many tabs it holds: anonymous ones, for example, are all the same caller. */
  private viewingCallers(only: ReadonlySet<HistoryId> | undefined): ViewingCaller[] {
    const { registry, viewers } = this.options;
    if (viewers.size === 0 || only?.size === 0) return [];
    const due = (holder: ViewerHolder): HistoryId[] =>
      only === undefined ? [...viewers.of(holder)] : [...viewers.of(holder)].filter((id) => only.has(id));
    const callers = new Map<string, { principal: Principal; holders: Set<ViewerHolder> }>();
    for (const tab of registry.all) {
      const { userId, sessionId, isAdmin } = tab.principal;
      const looking: ViewerHolder[] = [{ tab }];
      if (userId !== undefined) looking.push({ userId });
      if (sessionId !== undefined) looking.push({ sessionId });
      const holders = looking.filter((holder) => due(holder).length > 0);
      if (holders.length === 0) continue;
      const key = `${userId} ${sessionId} ${isAdmin}`;
      const caller = callers.get(key) ?? { principal: tab.principal, holders: new Set() };
      callers.set(key, caller);
      for (const holder of holders) caller.holders.add(holder);
    }
    return [...callers.values()].map(({ principal, holders }) => ({
      caller: principal,
      holders,
      historyIds: [...new Set([...holders].flatMap(due))],
    }));
  }
}

const principalOf = ({ principal }: Tab): Principal => principal;

interface ViewingCaller extends ViewQuestion {
  holders: ReadonlySet<ViewerHolder>;
}

/** Tabs whose credentials are looked up in different tables: one that is locked must not keep the others unchecked. */
function groups(tabs: readonly Tab[]): Tab[][] {
  const byKind = new Map<string, Tab[]>();
  for (const tab of tabs) {
    const { credential, userId } = tab.principal;
    if (credential.kind === 'none') continue;
    const kind = credential.kind === 'api_key' && credential.userId !== userId ? 'run_as' : credential.kind;
    const group = byKind.get(kind);
    if (group) group.push(tab);
    else byKind.set(kind, [tab]);
  }
  return [...byKind.values()];
}

/** Of about equal size, so that the number of questions does not grow with that of callers. */
function inPortions(callers: readonly ViewingCaller[]): ViewingCaller[][] {
  const portions: ViewingCaller[][] = [];
  let room = 0;
  for (const caller of callers) {
    if (room <= 0) {
      portions.push([]);
      room = VIEWED_AT_ONCE;
    }
    portions.at(-1)!.push(caller);
    room -= caller.historyIds.length;
  }
  return portions;
}
