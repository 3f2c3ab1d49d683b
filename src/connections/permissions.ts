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
  /** Of the ids given, those that the caller may see now. */
  accessible(principal: Principal, historyIds: readonly HistoryId[]): Promise<Set<HistoryId>>;
}

/** So many tabs are one question, not one each second: an idle worker sends no more than one statement a second in all. */
const SMALLEST_STEP = 1000;

export class PermissionCheck {
  private running = false;
  /** Tabs at places below this one are still to be looked at in this round. */
  private next = 0;
  private stepSize = 0;
  private viewersDue = false;
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
    this.stepSize = Math.max(SMALLEST_STEP, Math.ceil(this.next / steps));
    this.viewersDue = true;
  }

  /** Never rejects. What could not be looked at, because the database is away, is looked at in the next step. */
  async step(): Promise<void> {
    if (this.running) return;
    this.running = true;
    const { next } = this;
    try {
      if (next > 0) await this.checkTabs(this.takeStep());
      if (this.viewersDue) await this.checkViewers();
      this.viewersDue = false;
      this.failing = false;
    } catch (error) {
      this.next = next;
      if (!this.failing) {
        this.parts.logger.warn(
          { err: error },
          'permissions of open streams cannot be checked; asking again each second',
        );
      }
      this.failing = true;
    } finally {
      this.running = false;
    }
  }

  /** From the end down: the place of a tab that closes is taken by the last one, which has been looked at. */
  private takeStep(): Tab[] {
    const { all } = this.parts.registry;
    const end = Math.min(this.next, all.length);
    this.next = Math.max(0, end - this.stepSize);
    return all.slice(this.next, end);
  }

  private async checkTabs(some: readonly Tab[]): Promise<void> {
    const { source, close, logger } = this.parts;
    const principals = new Set<Principal>();
    for (const { principal } of some) if (principal.credential.kind !== 'none') principals.add(principal);
    if (principals.size === 0) return;
    const revoked = await source.revoked([...principals]);
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

  private async checkViewers(): Promise<void> {
    const { registry, viewers, source } = this.parts;
    if (viewers.size === 0) return;
    // One question per caller, however many tabs it holds: anonymous ones, for example, are all the same caller.
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
    for (const { principal, holders } of callers.values()) {
      const viewed = new Set([...holders].flatMap((holder) => [...viewers.of(holder)]));
      const accessible = await source.accessible(principal, [...viewed]);
      for (const holder of holders) {
        for (const id of [...viewers.of(holder)]) {
          if (viewed.has(id) && !accessible.has(id)) viewers.unsubscribe(holder, id);
        }
      }
    }
  }
}
