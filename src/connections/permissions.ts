/**
 * A stream never outlives its permission: every `permission_check_interval` all open streams are looked at again (one
 * question per kind of credential, not per tab), and so are the histories that viewers look at. With many tabs that is a
 * little work each second, so that no event has to wait for all of it.
 */
import type { HistoryId, Principal } from '../core/events.js';
import type { Logger } from '../telemetry/logger.js';
import type { TabRegistry } from './registry.js';
import type { Tab } from './tab.js';
import type { ViewerHolder, ViewerRegistry } from './viewers.js';

/** Declared here, answered by the HTTP room's authentication. */
export interface PermissionSource {
  /**
   * Of the principals given, those whose credential no longer grants what it did. Several may have the same credential:
   * asking for it once is the source's business.
   */
  revoked(principals: readonly Principal[]): Promise<Set<Principal>>;
  /** For each caller, of the ids given those that it may see now. */
  accessible(questions: readonly ViewQuestion[]): Promise<Set<HistoryId>[]>;
}

export interface ViewQuestion {
  caller: Principal;
  historyIds: readonly HistoryId[];
}

/** So many tabs are one question, not one each second: an idle worker sends no more than one statement a second in all. */
const SMALLEST_STEP = 1000;
/** Callers, or histories that they look at, in one question. */
const VIEWED_AT_ONCE = 1000;

export class PermissionCheck {
  private running = false;
  /** Tabs at places below this one are still to be looked at in this round. */
  private next = 0;
  private stepSize = 0;
  private viewersDue = false;
  /** Looked at in vain in this round; the longest ago first. */
  private unchecked: Tab[] = [];
  private failing = false;

  constructor(
    private readonly parts: {
      registry: TabRegistry;
      viewers: ViewerRegistry;
      source: PermissionSource;
      close: (tab: Tab, reason: 'revoked') => void;
      logger: Logger;
    },
  ) {}

  /** Begins a round that so many steps complete; a round that is still under way goes on instead. */
  begin(steps: number): void {
    if (this.next > 0) return;
    this.next = this.parts.registry.all.length;
    this.unchecked = [];
    this.stepSize = Math.max(SMALLEST_STEP, Math.ceil(this.next / steps));
    this.viewersDue = true;
  }

  /**
   * Never rejects. What could not be looked at is looked at again in the next step; a question that fails, because the
   * database is away or does not answer this one, keeps no other from being asked.
   */
  async step(): Promise<void> {
    if (this.running) return;
    this.running = true;
    const failures: unknown[] = [];
    for (const some of groups([...this.takeUnchecked(), ...this.takeStep()])) {
      await this.checkTabs(some).catch((error) => {
        failures.push(error);
        this.unchecked.push(...some);
      });
    }
    if (this.viewersDue) {
      const failed = await this.checkViewers();
      this.viewersDue = failed.length > 0;
      failures.push(...failed);
    }
    if (failures.length > 0 && !this.failing) {
      this.parts.logger.warn(
        { err: failures[0] },
        'permissions of open streams cannot be checked; asking again each second',
      );
    }
    this.failing = failures.length > 0;
    this.running = false;
  }

  /** From the end down: the place of a tab that closes is taken by the last one, which has been looked at. */
  private takeStep(): Tab[] {
    const { all } = this.parts.registry;
    const end = Math.min(this.next, all.length);
    this.next = Math.max(0, end - this.stepSize);
    return all.slice(this.next, end);
  }

  private takeUnchecked(): Tab[] {
    return this.unchecked.splice(0, this.stepSize).filter(({ state }) => state !== 'closed');
  }

  private async checkTabs(some: readonly Tab[]): Promise<void> {
    const { source, close, logger } = this.parts;
    const revoked = await source.revoked([...new Set(some.map(({ principal }) => principal))]);
    const closed = new Map<Principal, number>();
    if (revoked.size > 0) {
      for (const tab of some) {
        if (!revoked.has(tab.principal)) continue;
        close(tab, 'revoked');
        closed.set(tab.principal, (closed.get(tab.principal) ?? 0) + 1);
      }
    }
    for (const [{ userId }, tabs] of closed) {
      logger.info({ userId, tabs }, 'streams closed: their permission was revoked');
    }
  }

  /** @returns why some could not be looked at */
  private async checkViewers(): Promise<unknown[]> {
    const { viewers, source } = this.parts;
    const failures: unknown[] = [];
    for (const some of inPortions(this.viewingCallers())) {
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
  private viewingCallers(): ViewingCaller[] {
    const { registry, viewers } = this.parts;
    if (viewers.size === 0) return [];
    const callers = new Map<string, { principal: Principal; holders: Set<ViewerHolder> }>();
    for (const tab of registry.all) {
      const { userId, sessionId, isAdmin } = tab.principal;
      const looking: ViewerHolder[] = [{ tab }];
      if (userId !== undefined) looking.push({ userId });
      if (sessionId !== undefined) looking.push({ sessionId });
      const holders = looking.filter((holder) => viewers.of(holder).size > 0);
      if (holders.length === 0) continue;
      const key = `${userId} ${sessionId} ${isAdmin}`;
      const caller = callers.get(key) ?? { principal: tab.principal, holders: new Set() };
      callers.set(key, caller);
      for (const holder of holders) caller.holders.add(holder);
    }
    return [...callers.values()].map(({ principal, holders }) => ({
      caller: principal,
      holders,
      historyIds: [...new Set([...holders].flatMap((holder) => [...viewers.of(holder)]))],
    }));
  }
}

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
